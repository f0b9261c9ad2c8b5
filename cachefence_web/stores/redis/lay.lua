-- In a Cluster, the second half of a put, where the key is: store, and revoke the lease.
-- KEYS entry, lease, error record. ARGV 'admitted' or 'invalidated', bytes, life in ms or '', channel, expected: 16 bytes
-- of a lease, '' for no entry or 'any', the latest TIME at which this may happen, the id of the node whose TIME is meant.
-- Reply: 'admitted', 'invalidated', 'conflict', 'occupied', 'late', or 'moved' if this is another node.

if node ~= ARGV[7] then
  return 'moved'
end
if time > tonumber(ARGV[6]) then
  return 'late'
end
return objection(1, ARGV[5]) or lay(1, ARGV[1] == 'admitted', ARGV[2], ARGV[3], ARGV[4])
