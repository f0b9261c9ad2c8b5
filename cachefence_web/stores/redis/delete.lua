-- KEYS entry, lease, error record. ARGV channel. Reply: 1 if anything stood where the entry does, else 0.

local holder, waited = holder_of(KEYS[2])
local found = redis.call('DEL', KEYS[1])
redis.call('DEL', KEYS[2], KEYS[3])
if waited then
  wake(ARGV[1], holder)
end
return found
