-- Give an entry new dates, if it is still that one; its lease stays.
-- KEYS entry. ARGV the 16 bytes of its lease, the 24 of its new dates, life in ms or '', the 8 bytes of what hits renew it
-- by, or '' for as before. Reply: 1 if it is that entry, else 0.

if lease_of(KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('SETRANGE', KEYS[1], 20, ARGV[2])
if ARGV[4] ~= '' and redis.call('GETRANGE', KEYS[1], 3, 3) == '\1' then
  redis.call('SETRANGE', KEYS[1], payload_of(KEYS[1]) - 8, ARGV[4])
end
if ARGV[3] == '' then
  redis.call('PERSIST', KEYS[1])
else
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return 1
