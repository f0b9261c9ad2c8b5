-- An entry without its payload. KEYS entry. Reply: its head and tags, the ms it has left (-1: no end); nil for none.

if lease_of(KEYS[1]) == '' then
  return false
end
local head = math.max(payload_of(KEYS[1]), 54)
return { redis.call('GETRANGE', KEYS[1], 0, head - 1), redis.call('PTTL', KEYS[1]) }
