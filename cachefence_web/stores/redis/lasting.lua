-- How long records stay, and what is to go at last though it has no end of its own.

local DAY, LASTING = 86400, 30 * 86400

-- A record outlives the entries that carry it, and its life is never shortened. Whether an endless entry is still there
-- is not to be seen from the record: it lasts for thirty days, and each walk that meets the entry begins them anew.
local function outlive(record, life)
  local left = redis.call('PTTL', record)
  if left == -2 then
    return false
  end
  if life == '' then
    if left < (LASTING - DAY) * 1000 then
      redis.call('PEXPIRE', record, string.format('%.0f', LASTING * 1000))
    end
  elseif left >= 0 and left < life + 60000 then
    redis.call('PEXPIRE', record, string.format('%.0f', life + 120000))
  end
  return true
end

-- From the first endless entry on, all is walked over once a day.
local function await_walk(clock, now)
  redis.call('HSETNX', clock, 'due', string.format('%.0f', now + DAY * 1000000))
end
