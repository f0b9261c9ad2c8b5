-- KEYS lease. ARGV token, channel. Reply: 1 if it was the token's, else 0.

local holder, waited = holder_of(KEYS[1])
if holder ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
if waited then
  wake(ARGV[2], holder)
end
return 1
