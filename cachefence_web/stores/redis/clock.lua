-- A namespace's clock, epoch and memory of recent invalidations; stands in front of every script that touches them.
-- KEYS 1 clock, 2 epoch, 3 recent, 4 log. ARGV 1 sixteen random hexadecimal digits: the next epoch, should one begin.
-- Dates are microseconds. They travel as text: a double's own notation, and cjson's, lose digits.

local clock, epoch, recent, log = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local HORIZON, MOST = 600000000, 100000

local function text(number)
  return string.format('%.0f', number)
end

local stamp = redis.call('TIME')
local time = stamp[1] * 1000000 + stamp[2]
local held = redis.call('HMGET', clock, 'last', 'offset', 'swept', 'due')
local last, offset = tonumber(held[1]), tonumber(held[2]) or 0
local swept, due = held[3], tonumber(held[4])
-- MGET, for it answers nil where GET would fail on a value of another type.
local era = redis.call('MGET', epoch)[1]

-- Into the feed of the in-process tiers; the count tells them a quiet log from a lost one.
local function tell(kind, instant, what)
  redis.call('XADD', log, 'MAXLEN', '~', '10000', '*', 'kind', kind, 'at', text(instant), 'what', what)
  redis.call('HINCRBY', clock, 'count', 1)
end

local function begin_epoch(instant)
  era = ARGV[1]
  redis.call('SET', epoch, era)
  tell('epoch', instant, era)
end

-- Whoever has neither is new, or was evicted, and then what its last epoch left is evicted before what is in use.
local new = not last and not era
local begun = not last or not era or #era ~= 16 or string.find(era, '[^0-9a-f]')
if not last then
  last, offset = time, 0
  redis.call('HSET', clock, 'last', text(last), 'offset', '0')
end
if begun then
  begin_epoch(last)
end
if new then
  swept = era
  redis.call('HSET', clock, 'swept', era)
end
if time + offset < last then
  -- TIME went back: without this a namespace that is only read would stand still until TIME catches up.
  offset = last - time
  redis.call('HSET', clock, 'offset', text(offset))
end
local now = time + offset

-- An instant that nobody was given before.
local function tick()
  now = time + offset
  if now <= last then
    offset = offset + last + 1 - now
    now = last + 1
    redis.call('HSET', clock, 'last', text(now), 'offset', text(offset))
  else
    redis.call('HSET', clock, 'last', text(now))
  end
  last = now
  return now
end

-- A date from before a lost clock may lie ahead: no lease could ever outdate it.
local function raise(instant)
  if instant > now then
    now, last, offset = instant, instant, instant - time
    redis.call('HSET', clock, 'last', text(now), 'offset', text(offset))
  end
end

local function tag_of(record)
  return string.sub(record, string.find(record, '}:t:', 1, true) + 4)
end

-- The latest date that `recent` may have forgotten; a lost `recent` is born now and may have forgotten all before.
local forgotten
local function floor()
  if forgotten then
    return forgotten
  end
  forgotten = tonumber(redis.call('ZSCORE', recent, ''))
  if not forgotten then
    forgotten = tick()
    redis.call('ZADD', recent, text(forgotten), '')
  end
  return forgotten
end

local function remember(tag, instant)
  floor()
  local had = redis.call('ZSCORE', recent, tag)
  if not had or tonumber(had) < instant then
    redis.call('ZADD', recent, text(instant), tag)
  end
end

-- The same for many, at no earlier date than any there is.
local function remember_all(tags, instant)
  floor()
  for first = 1, #tags, 1000 do
    local scored = {}
    for at = first, math.min(first + 999, #tags) do
      scored[#scored + 1] = text(instant)
      scored[#scored + 1] = tags[at]
    end
    redis.call('ZADD', recent, 'GT', unpack(scored))
  end
end

-- Forget what is older than the horizon or beyond the bound, and remember that it was forgotten. What has grown too old
-- goes once a second, not with each commit.
local function trim()
  local lowest = floor()
  if lowest < now - HORIZON - 1000000 then
    lowest = now - HORIZON
    -- First, lest the set run empty: see recount in records.lua.
    redis.call('ZADD', recent, text(lowest), '')
    redis.call('ZREMRANGEBYSCORE', recent, '-inf', '(' .. text(lowest))
  end
  local excess = redis.call('ZCARD', recent) - MOST - 1
  if excess > 0 then
    local dropped = redis.call('ZRANGE', recent, excess - 1, excess - 1, 'WITHSCORES')
    lowest = math.max(lowest, tonumber(dropped[2]))
    redis.call('ZREMRANGEBYRANK', recent, 0, excess - 1)
    redis.call('ZADD', recent, text(lowest), '')
  end
  forgotten = lowest
end

-- The reply of every script here begins so: the instant, the epoch, and the server's own TIME.
local function reply()
  return { text(now), era, text(time) }
end

-- The same, and behind it 'unswept' where ended epochs left what nobody has removed yet, or a walk over all is due.
local function report()
  local answer = reply()
  if swept ~= era or (due and due <= now) then
    answer[4] = 'unswept'
  end
  return answer
end
