-- KEYS clock, epoch, recent, log. ARGV next epoch. Reply: a new instant, the epoch, TIME.

floor()
tick()
return reply()
