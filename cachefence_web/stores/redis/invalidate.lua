-- Date an invalidation of tags now. Any program may call this script, with clock.lua in front of it.
-- KEYS {ns}:clock, {ns}:epoch, {ns}:recent, {ns}:log, then per tag: {ns}:t:<tag>. ARGV sixteen random hexadecimal digits.
-- Reply: the instant of the invalidation, the epoch, the server's TIME in microseconds.

local instant = tick()
local tags = {}
for at = 5, #KEYS do
  local record = KEYS[at]
  local tag = tag_of(record)
  local raw = redis.call('MGET', record)[1]
  if raw and #raw == 70 then
    redis.call('SETRANGE', record, 0, string.format('%016.0f', instant))
  elseif redis.call('EXISTS', record) == 1 then
    redis.call('DEL', record)
  end
  remember(tag, instant)
  tags[#tags + 1] = tag
end
trim()
tell('invalidate', instant, table.concat(tags, ' '))
return reply()
