-- Tag records and their fences; stands behind clock.lua.
-- A record: invalidated 16 digits, expired 16, pending 6, soonest 16, latest 16. Its fences: a ZSET token -> deadline.

local FAR = 4000000000000000
local AT_ONCE = 1000

-- Every record of KEYS in one call, for scripts that have many: in Redis it is the calls that cost.
local fetched = {}
local function fetch()
  for first = 5, #KEYS, 2 * AT_ONCE do
    local records = {}
    for at = first, math.min(first + 2 * AT_ONCE, #KEYS) - 1, 2 do
      records[#records + 1] = KEYS[at]
    end
    for at, raw in ipairs(redis.call('MGET', unpack(records))) do
      fetched[records[at]] = raw
    end
  end
end

local function recall(record)
  local raw = fetched[record]
  if raw == nil then
    raw = redis.call('MGET', record)[1]
  end
  if not raw or #raw ~= 70 or string.find(raw, '%D') then
    return nil
  end
  local found = {
    invalidated = tonumber(string.sub(raw, 1, 16)),
    expired = tonumber(string.sub(raw, 17, 32)),
    pending = tonumber(string.sub(raw, 33, 38)),
    soonest = tonumber(string.sub(raw, 39, 54)),
    latest = tonumber(string.sub(raw, 55, 70)),
  }
  -- A date that no clock will reach is damage: it would raise the clock to where doubles no longer count.
  if math.max(found.invalidated, found.expired, found.latest) > FAR then
    return nil
  end
  return found
end

-- A record for a tag that has none, or lost it: dated at all that may have been forgotten with it.
local function birth(record, fences)
  local known = redis.call('ZSCORE', recent, tag_of(record))
  return {
    invalidated = math.max(floor(), now - HORIZON, tonumber(known) or 0),
    expired = 0,
    pending = redis.call('ZCARD', fences),
    soonest = 0,
    latest = 0,
    born = true,
  }
end

-- left: how many there are. A set that ran empty is not looked at again: where its slot is on the way to another node of
-- a Cluster, Redis would break off the script that does, since it could be there.
local function recount(found, fences, left)
  found.pending, found.soonest, found.latest = math.min(left, 999999), 0, 0
  if left == 0 then
    return
  end
  local first = redis.call('ZRANGE', fences, 0, 0, 'WITHSCORES')
  local final = redis.call('ZRANGE', fences, -1, -1, 'WITHSCORES')
  found.soonest = tonumber(first[2] or 0)
  found.latest = tonumber(final[2] or 0)
end

-- Apply the fences whose deadline has passed: a writer that let its deadline pass is dead, and may have committed.
-- found.left: how many there are then, if that was looked at.
-- found.lost: fences were evicted, and which is not known: until the latest deadline nothing under the tag counts.
-- One of which all are there, and none is due, is settled already: it was counted when the last of them changed.
-- That date is not written into the record before it has come: a clock raised past it would undo the fence.
local function settle(record, fences, found)
  if found.pending == 0 then
    return
  end
  found.left = redis.call('ZCARD', fences)
  found.lost = found.left < found.pending
  if found.left == found.pending and found.soonest > now then
    return
  end
  local passed = redis.call('ZREVRANGEBYSCORE', fences, text(now), '-inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if passed[2] then
    local deadline = tonumber(passed[2])
    local dropped = redis.call('ZREMRANGEBYSCORE', fences, '-inf', text(now))
    found.pending = found.pending - dropped
    found.left = found.left - dropped
    found.invalidated = math.max(found.invalidated, deadline)
    remember(tag_of(record), deadline)
    found.changed = true
  end
  if found.lost and found.latest <= now then
    found.invalidated = math.max(found.invalidated, found.latest)
    remember(tag_of(record), found.latest)
    found.lost = false
    found.changed = true
  end
  if not found.lost then
    recount(found, fences, found.left)
  end
end

local function effective(found)
  return found.lost and math.max(found.invalidated, found.latest) or found.invalidated
end

local function written(found, invalidated)
  return string.format('%016.0f%016.0f%06.0f%016.0f%016.0f',
    invalidated, found.expired, found.pending, found.soonest, found.latest)
end

local function save(record, found)
  fetched[record] = written(found, found.invalidated)
  redis.call('SET', record, fetched[record], 'KEEPTTL')
end
