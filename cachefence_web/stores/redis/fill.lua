-- Admit an entry under its lease, then store it by token and end the lease.
-- KEYS clock, epoch, recent, log, entry, lease, error record, then per tag: record, fences.
-- ARGV next epoch, lease's instant, lease's epoch, bytes, life in ms or '', channel, token, 'entry' or 'error'.
-- Reply: the instant, the epoch, TIME, then 'admitted', 'revoked' or 'invalidated'.

local life, channel, token = ARGV[5], ARGV[6], ARGV[7]
local verdict = 'admitted'
local admitted = admit(tonumber(ARGV[2]), ARGV[3], life)
local holder, waited = holder_of(KEYS[6])
if holder ~= token then
  verdict = 'revoked'
else
  if not admitted then
    verdict = 'invalidated'
  elseif ARGV[8] == 'error' then
    keep(KEYS[7], ARGV[4], life)
  else
    keep(KEYS[5], ARGV[4], life)
    redis.call('DEL', KEYS[7])
  end
  redis.call('DEL', KEYS[6])
  if waited then
    wake(channel, holder)
  end
end
if not admitted then
  verdict = 'invalidated'
end
local answer = reply()
answer[4] = verdict
return answer
