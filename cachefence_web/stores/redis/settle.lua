-- KEYS clock, epoch, recent, log, then per tag: record, fences. ARGV next epoch.
-- Reply: the instant, the epoch, TIME, then each record ('' for none) after the passed deadlines were applied.

local answer = reply()
for at = 5, #KEYS, 2 do
  local found = recall(KEYS[at])
  if found then
    settle(KEYS[at], KEYS[at + 1], found)
    if found.changed then
      save(KEYS[at], found)
    end
    answer[#answer + 1] = written(found, effective(found))
  else
    answer[#answer + 1] = ''
  end
end
return answer
