-- KEYS clock, epoch, recent, log. ARGV next epoch. Reply: the instant it is, the epoch, TIME.

return reply()
