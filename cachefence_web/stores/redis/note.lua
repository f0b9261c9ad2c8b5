-- Tell the in-process tiers of a changed key. KEYS clock, log. ARGV the key. Reply: how many messages there were.

redis.call('XADD', KEYS[2], 'MAXLEN', '~', '10000', '*', 'kind', 'key', 'what', ARGV[1])
return redis.call('HINCRBY', KEYS[1], 'count', 1)
