-- Put another entry in the place of one that is still the one seen, to the last byte; its life stays. Whatever computes
-- the key is refused. KEYS entry, lease. ARGV the bytes seen, the bytes to stand there, channel. Reply: 1 if done, else 0.

if redis.call('MGET', KEYS[1])[1] ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
revoke(KEYS[2], ARGV[3])
return 1
