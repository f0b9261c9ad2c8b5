-- Add to the number in an entry, in 64 bits, which a Lua number has not: Redis itself adds, in a scratch key.
-- Whatever computes the key is refused. KEYS entry, lease, scratch. ARGV the 16 bytes of the entry's lease, delta, channel.
-- Reply: the sum as text, '' if it does not fit, nil for another entry or one that holds no number.

if lease_of(KEYS[1]) ~= ARGV[1] then
  return false
end
local raw = redis.call('GET', KEYS[1])
if string.byte(raw, 3) ~= 1 then
  return false
end
local offset = payload_of(KEYS[1])
redis.call('SET', KEYS[3], string.sub(raw, offset + 1))
local sum = redis.pcall('INCRBY', KEYS[3], ARGV[2])
if type(sum) == 'table' then
  redis.call('DEL', KEYS[3])
  return string.find(tostring(sum.err), 'overflow', 1, true) and '' or false
end
local exact = redis.call('GET', KEYS[3])
redis.call('DEL', KEYS[3])
redis.call('SET', KEYS[1], string.sub(raw, 1, offset) .. exact, 'KEEPTTL')
revoke(KEYS[2], ARGV[3])
return exact
