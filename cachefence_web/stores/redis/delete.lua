-- KEYS entry, lease, error record. ARGV channel. Reply: 1 if there was an entry, else 0.

local found = lease_of(KEYS[1]) ~= '' and 1 or 0
local holder, waited = holder_of(KEYS[2])
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
if waited then
  wake(ARGV[1], holder)
end
return found
