-- Admit an entry under its lease, then store it by token and end the lease.
-- KEYS clock, epoch, recent, log, entry, lease, error record, then per tag: record, fences.
-- ARGV next epoch, lease's instant, lease's epoch, bytes, life in ms or '', channel, token, 'entry' or 'error'.
-- Reply: the instant, the epoch, TIME, then 'admitted', 'revoked', 'invalidated' or 'occupied'.

local admitted = admit(tonumber(ARGV[2]), ARGV[3], ARGV[5], 8)
local verdict = file(5, admitted, ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8])
local answer = reply()
answer[4] = verdict
return answer
