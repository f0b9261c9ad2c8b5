-- KEYS lease. ARGV token, life in ms. Reply: 1 if it is the token's, else 0.

if holder_of(KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
