-- In a Cluster, the second half of a fill, where the key is: store by token and end the lease.
-- KEYS entry, lease, error record. ARGV 'admitted' or 'invalidated', bytes, life in ms or '', channel, token, 'entry' or
-- 'error'. Reply: 'admitted', 'revoked', 'invalidated' or 'occupied'.

return file(1, ARGV[1] == 'admitted', ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6])
