-- Note that all was walked over, and what ended epochs left is gone.
-- KEYS clock, epoch, recent, log. ARGV next epoch, the epoch in which the walk began.
-- Reply: the instant, the epoch, TIME, perhaps 'unswept': another epoch has begun since.

if era == ARGV[2] then
  swept = era
  redis.call('HSET', clock, 'swept', era)
  if due then
    due = now + DAY * 1000000
    redis.call('HSET', clock, 'due', text(due))
  end
end
return report()
