-- The vendor took, or may have taken, something of a lane. Its audience's label stays; a full Redis lets this pass.
-- touches  :audiences
-- ARGV     lane
local label = redis.call('HGET', AUDIENCES, ARGV[1]) or ''
redis.call('HDEL', AUDIENCES, ARGV[1])
redis.call('HSET', AUDIENCES, ARGV[1], label)
return 1
