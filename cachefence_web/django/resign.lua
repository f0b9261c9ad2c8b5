-- Put members that were written under a former secret in the words of the present one, where they are there.
-- KEYS a set or sorted set. ARGV pairs of a member as it was written, and as it is now. Reply: how many there were.
-- The new one comes before the old one goes: a structure that was empty for a moment would have lost its life.

local kind, found = redis.call('TYPE', KEYS[1]).ok, 0
for at = 1, #ARGV, 2 do
  if kind == 'set' and redis.call('SISMEMBER', KEYS[1], ARGV[at]) == 1 then
    redis.call('SADD', KEYS[1], ARGV[at + 1])
    found = found + redis.call('SREM', KEYS[1], ARGV[at])
  elseif kind == 'zset' then
    local score = redis.call('ZSCORE', KEYS[1], ARGV[at])
    if score then
      redis.call('ZADD', KEYS[1], 'NX', score, ARGV[at + 1])
      found = found + redis.call('ZREM', KEYS[1], ARGV[at])
    end
  end
end
return found
