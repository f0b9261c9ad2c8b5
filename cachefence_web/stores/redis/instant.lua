-- KEYS clock, epoch, recent, log. ARGV next epoch. Reply: a new instant, the epoch, TIME, perhaps 'unswept'.

floor()
tick()
return report()
