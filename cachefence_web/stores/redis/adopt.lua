-- The first to meet another server, one that restarted or was promoted, begins an epoch.
-- KEYS clock, epoch, recent, log. ARGV next epoch, the server's replication id. Reply: the instant, the epoch, TIME.

local known = redis.call('HGET', clock, 'server')
if known ~= ARGV[2] then
  redis.call('HSET', clock, 'server', ARGV[2])
  if not begun then
    begin_epoch(tick())
  end
end
return reply()
