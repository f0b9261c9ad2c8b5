-- Store an entry whoever is computing the key, and revoke the lease.
-- KEYS clock, epoch, recent, log, entry, lease, error record, then per tag: record, fences.
-- ARGV next epoch, lease's instant, lease's epoch, bytes, life in ms or '', channel, expected: 16 bytes of a lease,
-- '' for no entry or 'any', the latest TIME at which this may happen, the key as the log tells it.
-- Reply: the instant, the epoch, TIME, then 'admitted', 'invalidated', 'conflict', 'occupied' or 'late'.

local answer = reply()
if time > tonumber(ARGV[8]) then
  answer[4] = 'late'
  return answer
end
answer[4] = objection(5, ARGV[7])
if answer[4] then
  return answer
end
answer[4] = lay(5, admit(tonumber(ARGV[2]), ARGV[3], ARGV[5], 8), ARGV[4], ARGV[5], ARGV[6])
tell('key', now, ARGV[9])
return answer
