-- Date an invalidation of tags ahead, unless it is lifted.
-- KEYS clock, epoch, recent, log, then per tag: record, fences. ARGV next epoch, token, microseconds until the deadline.
-- Reply: the instant, the epoch, TIME, the deadline.

local token, deadline = ARGV[2], now + ARGV[3]
local tags = {}
fetch()
for at = 5, #KEYS, 2 do
  local record, fences = KEYS[at], KEYS[at + 1]
  -- A tag without a record is given one: should the fences be lost, it alone tells that there was one.
  local found = recall(record) or birth(record, fences)
  settle(record, fences, found)
  local added = redis.call('ZADD', fences, text(deadline), token)
  -- Kept so long past the deadline that whoever gives the tag a record still finds it, or has forgotten more.
  local kept = math.ceil((deadline - now + HORIZON) / 1000) + 60000
  local left = redis.call('ZCARD', fences)
  -- A fence that stands alone, as nearly all do, is all there is to count.
  if left == 1 or redis.call('PTTL', fences) < kept then
    redis.call('PEXPIRE', fences, text(kept))
  end
  if found.lost then
    found.pending = found.pending + added
    found.latest = math.max(found.latest, deadline)
    found.soonest = math.min(found.soonest, deadline)
  elseif left == 1 then
    found.pending, found.soonest, found.latest = 1, deadline, deadline
  else
    recount(found, fences, left)
  end
  if found.born then
    fetched[record] = written(found, found.invalidated)
    redis.call('SET', record, fetched[record], 'PX', text(kept))
  else
    save(record, found)
    local life = redis.call('PTTL', record)
    if life >= 0 and life < kept then
      redis.call('PEXPIRE', record, text(kept))
    end
  end
  tags[#tags + 1] = tag_of(record)
end
tell('fence', deadline, table.concat(tags, ' '))
local answer = reply()
answer[4] = text(deadline)
return answer
