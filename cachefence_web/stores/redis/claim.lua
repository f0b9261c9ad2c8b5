-- Grant the lease of a key if nothing stands in its way.
-- KEYS entry, lease, error record. ARGV token, life in ms, the 16 bytes of the lease of the entry judged unusable ('' for
-- none), the token to take over ('' for none), the lease of the error record judged so, channel.
-- Reply: 'granted', 'present', or 'held' and the holder's token.

local token, takeover = ARGV[1], ARGV[4]
local holder, waited = holder_of(KEYS[2])
if holder ~= '' and holder ~= token and holder ~= takeover then
  if not waited then
    redis.call('SET', KEYS[2], holder .. '!', 'KEEPTTL')
  end
  return { 'held', holder }
end
local failed = lease_of(KEYS[3])
if lease_of(KEYS[1]) ~= ARGV[3] or (failed ~= '' and failed ~= ARGV[5]) then
  return { 'present' }
end
if waited and holder == token then
  redis.call('SET', KEYS[2], token .. '!', 'PX', ARGV[2])
else
  redis.call('SET', KEYS[2], token, 'PX', ARGV[2])
  if waited then
    wake(ARGV[6], holder)
  end
end
return { 'granted' }
