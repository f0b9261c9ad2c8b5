-- Store an entry whoever is computing the key, and revoke the lease.
-- KEYS clock, epoch, recent, log, entry, lease, error record, then per tag: record, fences.
-- ARGV next epoch, lease's instant, lease's epoch, bytes, life in ms or '', channel, expected: 16 bytes of a lease,
-- '' for no entry or 'any', the latest TIME at which this may happen, the key as the log tells it.
-- Reply: the instant, the epoch, TIME, then 'admitted', 'invalidated', 'conflict' or 'late'.

local life, expected = ARGV[5], ARGV[7]
local answer = reply()
if time > tonumber(ARGV[8]) then
  answer[4] = 'late'
  return answer
end
if expected ~= 'any' and lease_of(KEYS[5]) ~= expected then
  answer[4] = 'conflict'
  return answer
end
local holder, waited = holder_of(KEYS[6])
redis.call('DEL', KEYS[6], KEYS[7])
if admit(tonumber(ARGV[2]), ARGV[3], life) then
  keep(KEYS[5], ARGV[4], life)
  answer[4] = 'admitted'
else
  redis.call('DEL', KEYS[5])
  answer[4] = 'invalidated'
end
if waited then
  wake(ARGV[6], holder)
end
tell('key', now, ARGV[9])
return answer
