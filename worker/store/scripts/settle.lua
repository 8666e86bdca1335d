-- Take the delivered head off a lane, count it, bury what was refused; give the lease back when `done`.
-- touches  :lane:<lane>  :counters  :dead  :dead-by-time  :holds  :hold  :leases  :parked  :since  :depth
-- ARGV     lane, token, taken, delivered, folded, invalid_unnamed, done ('1' or '0'), now or '', dead letter…
-- returns  1, or 0 when the lease is no longer the caller's
local lane, taken, now = ARGV[1], tonumber(ARGV[3]), clock(ARGV[8])
if not holds_lease(lane, ARGV[2]) then
  return 0
end
redis.call('LTRIM', lane_key(lane), taken, -1)
local buried = #ARGV - 8
redis.call('HINCRBY', COUNTERS, 'waiting', -taken)
redis.call('HINCRBY', COUNTERS, 'delivered', ARGV[4])
redis.call('HINCRBY', COUNTERS, 'folded', ARGV[5])
redis.call('HINCRBY', COUNTERS, 'buried', buried)
if ARGV[6] ~= '0' then
  redis.call('HINCRBY', COUNTERS, 'invalid_unnamed', ARGV[6])
end
for i = 9, #ARGV do
  local id = redis.call('HINCRBY', COUNTERS, 'dead_letters', 1)
  redis.call('HSET', root .. ':dead', id, ARGV[i])
  redis.call('ZADD', root .. ':dead-by-time', integer(now), id)
end
local hold = lane_hold(lane)
if hold and not (hold.by_hand and lasts(hold, now)) then
  redis.call('HDEL', HOLDS, lane)
end
if redis.call('HGET', HOLD, 'by_hand') ~= '1' then
  redis.call('DEL', HOLD)
end
if ARGV[7] == '1' then
  redis.call('HDEL', LEASES, lane)
  schedule(lane, now)
end
return 1
