-- Make what carries the tags stale as of now; a tag without a record is invalidated.
-- KEYS clock, epoch, recent, log, then per tag: record. ARGV next epoch. Reply: the instant, the epoch, TIME.

local instant = tick()
local tags = {}
for at = 5, #KEYS do
  local found = recall(KEYS[at])
  if found then
    redis.call('SETRANGE', KEYS[at], 16, string.format('%016.0f', instant))
  end
  -- With the record its expiry would be forgotten too: what is born in its place calls older entries gone.
  local tag = tag_of(KEYS[at])
  remember(tag, instant)
  tags[#tags + 1] = tag
end
trim()
tell('expire', instant, table.concat(tags, ' '))
return reply()
