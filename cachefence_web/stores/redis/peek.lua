-- KEYS clock, epoch, recent, log. ARGV next epoch. Reply: the instant it is, the epoch, TIME, perhaps 'unswept'.

-- A write that changes nothing, and is not replicated: a primary that was demoted, but kept its connections, answers reads
-- without end, and would never say so. Any other refusal (no permission, too few replicas) is no obstacle to looks.
local held = redis.pcall('PERSIST', clock)
if type(held) == 'table' and held.err and string.find(held.err, 'READONLY', 1, true) then
  -- Worded anew: Redis before 7 puts the place in the script in front, and so hides what it is.
  return redis.error_reply("READONLY You can't write against a read only replica.")
end
return report()
