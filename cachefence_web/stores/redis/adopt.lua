-- The first to meet another server, one that restarted or was promoted, begins an epoch.
-- KEYS clock, epoch, recent, log. ARGV next epoch, the server's replication id, where it is kept: 'server', or in a
-- Cluster 'server:' and the node's id. Reply: the instant, the epoch, TIME, perhaps 'unswept'.

local known = redis.call('HGET', clock, ARGV[3])
if known ~= ARGV[2] then
  redis.call('HSET', clock, ARGV[3], ARGV[2])
  if not begun then
    begin_epoch(tick())
  end
end
return report()
