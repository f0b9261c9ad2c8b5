-- Admission; stands behind records.lua. The pairs (record, fences) of the entry's tags begin at KEYS 8.

-- A record outlives the entries that carry it; its life is never shortened.
local function outlive(record, life)
  local left = redis.call('PTTL', record)
  if life == '' then
    if left >= 0 then
      redis.call('PERSIST', record)
    end
  elseif left >= 0 and left < life + 60000 then
    redis.call('PEXPIRE', record, text(life + 120000))
  end
end

-- Whether what was computed under the lease may be stored: nothing it depends on was invalidated since.
local function admit(instant, lease_epoch, life)
  local admitted = era == lease_epoch
  for at = 8, #KEYS, 2 do
    local record, fences = KEYS[at], KEYS[at + 1]
    local found = recall(record) or birth(record, fences)
    settle(record, fences, found)
    if instant <= effective(found) then
      admitted = false
    end
    raise(math.max(found.invalidated, found.expired))
    if found.born then
      redis.call('SET', record, written(found, found.invalidated), 'PX', '120000')
    elseif found.changed then
      save(record, found)
    end
    outlive(record, life)
  end
  return admitted
end
