-- KEYS clock, epoch, recent, log. ARGV next epoch. Reply: the instant, the epoch begun, TIME, perhaps 'unswept'.

if not begun then
  begin_epoch(tick())
end
return report()
