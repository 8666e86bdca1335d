-- Write one field of a hash so that a full Redis lets it pass, too: it begins with HDEL.
-- KEYS     the hash
-- ARGV     field, value, how long the hash lives from now on (ms)
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
