-- End a fence. committed: invalidate now and drop it; rolled_back: drop it; unknown: invalidate now and leave it.
-- KEYS clock, epoch, recent, log, then per tag: record, fences. ARGV next epoch, token, outcome.
-- Reply: the instant, the epoch, TIME.

local token, outcome = ARGV[2], ARGV[3]
local instant = tick()
local tags = {}
fetch()
for at = 5, #KEYS, 2 do
  local record, fences = KEYS[at], KEYS[at + 1]
  local found = recall(record)
  if found then
    settle(record, fences, found)
  end
  local left = found and found.left or redis.call('ZCARD', fences)
  local dropped = 0
  if outcome ~= 'unknown' and left > 0 then
    dropped = redis.call('ZREM', fences, token)
  end
  if found then
    if found.lost then
      found.pending = found.pending - dropped
    else
      recount(found, fences, left - dropped)
    end
    if outcome ~= 'rolled_back' then
      found.invalidated = instant
    end
    save(record, found)
  end
  tags[#tags + 1] = tag_of(record)
end
if outcome ~= 'rolled_back' then
  remember_all(tags, instant)
end
trim()
tell(outcome == 'rolled_back' and 'lift' or 'invalidate', instant, table.concat(tags, ' '))
return reply()
