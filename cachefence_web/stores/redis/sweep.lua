-- Remove an entry that was seen to be gone. KEYS entry. ARGV the 16 bytes of its lease. Reply: 1 if it is that, else 0.

if lease_of(KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('DEL', KEYS[1])
