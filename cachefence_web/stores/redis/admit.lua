-- Admission; stands behind records.lua and lasting.lua.

-- Whether what was computed under the lease may be stored: nothing it depends on was invalidated since.
-- The pairs (record, fences) of its tags begin at KEYS[first].
local function admit(instant, lease_epoch, life, first)
  local admitted = era == lease_epoch
  if life == '' and not due then
    await_walk(clock, now)
  end
  for at = first, #KEYS, 2 do
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
