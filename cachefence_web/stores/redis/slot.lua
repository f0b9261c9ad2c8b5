-- An entry, its lease and its error record, which share a slot; stands in front of the scripts that touch them.
-- A lease is its holder's token, with an exclamation mark once somebody waits for its end.

-- The sixteen bytes of an entry's lease; '' for what is no entry of ours.
local function lease_of(key)
  local head = redis.pcall('GETRANGE', key, 0, 53)
  if type(head) ~= 'string' or #head < 54 or string.sub(head, 1, 2) ~= '\207\1' then
    return ''
  end
  return string.sub(head, 5, 20)
end

-- Whether users keep a set, a hash or the like of Redis where the entry would stand.
local function is_occupied(key)
  local kind = redis.call('TYPE', key).ok
  return kind ~= 'none' and kind ~= 'string'
end

-- Where the payload of an entry begins.
local function payload_of(key)
  local a, b, c, d = string.byte(redis.call('GETRANGE', key, 50, 53), 1, 4)
  return ((a * 256 + b) * 256 + c) * 256 + d
end

-- The token of the lease, '' if it is free; and whether somebody waits.
local function holder_of(key)
  local token = redis.call('MGET', key)[1]
  if not token then
    return '', false
  end
  if string.sub(token, -1) == '!' then
    return string.sub(token, 1, -2), true
  end
  return token, false
end

-- A user may be forbidden to publish; those who wait also look from time to time.
local function wake(channel, token)
  redis.pcall('PUBLISH', channel, token)
end

-- End the compute there may be under the lease: what it was begun before must not be stored over.
local function revoke(lease, channel)
  local holder, waited = holder_of(lease)
  redis.call('DEL', lease)
  if waited then
    wake(channel, holder)
  end
end

local function keep(key, bytes, life)
  if life == '' then
    redis.call('SET', key, bytes)
  else
    redis.call('SET', key, bytes, 'PX', life)
  end
end
