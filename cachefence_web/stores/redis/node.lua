-- Whose clock it is: nodes of a Cluster differ, and a key may move from one to another. Stands in front of what asks.

local stamp = redis.call('TIME')
local time = stamp[1] * 1000000 + stamp[2]
local node = redis.pcall('CLUSTER', 'MYID')
if type(node) ~= 'string' then
  node = ''
end
