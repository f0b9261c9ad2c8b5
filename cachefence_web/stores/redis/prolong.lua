-- Let records outlive an entry whose life was prolonged. KEYS records. ARGV life in ms or ''. Reply: how many there are.

local found = 0
for at = 1, #KEYS do
  local left = redis.call('PTTL', KEYS[at])
  if left ~= -2 then
    found = found + 1
  end
  if left >= 0 and ARGV[1] == '' then
    redis.call('PERSIST', KEYS[at])
  elseif left >= 0 and left < ARGV[1] + 60000 then
    redis.call('PEXPIRE', KEYS[at], string.format('%.0f', ARGV[1] + 120000))
  end
end
return found
