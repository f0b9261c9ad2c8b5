-- Storing what was admitted, or was not; stands behind slot.lua.
-- KEYS[first] and the two behind it are the entry, its lease and its error record.

-- By token, as the end of a lease: 'admitted', 'revoked', 'invalidated' or 'occupied'. where: 'entry' or 'error'.
local function file(first, admitted, bytes, life, channel, token, where)
  local verdict = admitted and 'admitted' or 'invalidated'
  local holder, waited = holder_of(KEYS[first + 1])
  if holder ~= token then
    return admitted and 'revoked' or verdict
  end
  if admitted and where == 'error' then
    keep(KEYS[first + 2], bytes, life)
  elseif admitted and is_occupied(KEYS[first]) then
    verdict = 'occupied'
  elseif admitted then
    keep(KEYS[first], bytes, life)
    redis.call('DEL', KEYS[first + 2])
  end
  redis.call('DEL', KEYS[first + 1])
  if waited then
    wake(channel, holder)
  end
  return verdict
end

-- What forbids to store: 'conflict' if the entry is not the expected one (16 bytes of a lease, '' for no entry, or
-- 'any'), 'occupied' if none was expected and something else is kept there; or nil.
local function objection(first, expected)
  if expected == 'any' then
    return nil
  end
  if lease_of(KEYS[first]) ~= expected then
    return 'conflict'
  end
  return expected == '' and is_occupied(KEYS[first]) and 'occupied' or nil
end

-- Whoever is computing the key, whose lease is revoked: 'admitted' or 'invalidated'.
local function lay(first, admitted, bytes, life, channel)
  local holder, waited = holder_of(KEYS[first + 1])
  redis.call('DEL', KEYS[first + 1], KEYS[first + 2])
  if admitted then
    keep(KEYS[first], bytes, life)
  else
    redis.call('DEL', KEYS[first])
  end
  if waited then
    wake(channel, holder)
  end
  return admitted and 'admitted' or 'invalidated'
end
