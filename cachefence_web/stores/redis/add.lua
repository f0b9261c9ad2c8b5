-- Add to the number in an entry, in 64 bits, which a Lua number has not: Redis itself adds, in a scratch key.
-- KEYS entry, scratch. ARGV the 16 bytes of its lease, delta.
-- Reply: the sum as text, '' if it does not fit, nil for another entry or one that holds no number.

if lease_of(KEYS[1]) ~= ARGV[1] then
  return false
end
local raw = redis.call('GET', KEYS[1])
if string.byte(raw, 3) ~= 1 then
  return false
end
local a, b, c, d = string.byte(raw, 51, 54)
local offset = ((a * 256 + b) * 256 + c) * 256 + d
redis.call('SET', KEYS[2], string.sub(raw, offset + 1))
local sum = redis.pcall('INCRBY', KEYS[2], ARGV[2])
if type(sum) == 'table' then
  redis.call('DEL', KEYS[2])
  return string.find(tostring(sum.err), 'overflow', 1, true) and '' or false
end
local exact = redis.call('GET', KEYS[2])
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[1], string.sub(raw, 1, offset) .. exact, 'KEEPTTL')
return exact
