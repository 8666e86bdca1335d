-- Drop waiting changes of a lane by their places, on somebody's order.
-- touches  :lane:<lane>  :counters  :since
-- ARGV     lane, token, place from the head (0: the first)…
-- returns  1, or 0 when the lease is no longer the caller's
local lane, key = ARGV[1], lane_key(ARGV[1])
if not holds_lease(lane, ARGV[2]) then
  return 0
end
redis.call('ZREM', SINCE, lane)
for i = 3, #ARGV do
  redis.call('LSET', key, ARGV[i], '')
end
local count = redis.call('LREM', key, 0, '')
redis.call('HINCRBY', COUNTERS, 'waiting', -count)
redis.call('HINCRBY', COUNTERS, 'discarded', count)
redis.call('HINCRBY', COUNTERS, 'erased', count)
return 1
