-- Write one value so that a full Redis lets it pass, too: it begins with DEL or HDEL.
-- KEYS     the key: a string, or with a field a hash
-- ARGV     field or '', value, how long it lives (ms, 0: for ever)
if ARGV[1] == '' then
  redis.call('DEL', KEYS[1])
  redis.call('SET', KEYS[1], ARGV[2])
else
  redis.call('HDEL', KEYS[1], ARGV[1])
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
if ARGV[3] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return 1
