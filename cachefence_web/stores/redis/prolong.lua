-- Let records outlive an entry whose life was prolonged.
-- KEYS clock, then records. ARGV life in ms or ''. Reply: how many records there are.

if ARGV[1] == '' then
  local stamp = redis.call('TIME')
  await_walk(KEYS[1], stamp[1] * 1000000 + stamp[2])
end
local found = 0
for at = 2, #KEYS do
  if outlive(KEYS[at], ARGV[1]) then
    found = found + 1
  end
end
return found
