-- In a Cluster, the first half of a fill or a put, where the metadata are: may it be stored?
-- KEYS clock, epoch, recent, log, then per tag: record, fences.
-- ARGV next epoch, lease's instant, lease's epoch, life in ms or ''.
-- Reply: the instant, the epoch, TIME, then 'admitted' or 'invalidated'.

local verdict = admit(tonumber(ARGV[2]), ARGV[3], ARGV[4], 5) and 'admitted' or 'invalidated'
local answer = reply()
answer[4] = verdict
return answer
