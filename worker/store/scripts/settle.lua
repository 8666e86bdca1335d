-- Take the delivered head off a lane, count it, bury what was refused, and give the lease back.
-- touches  :lane:<lane>  :counters  :audiences  :erasing  :dead  :dead-by-time  :dead-persons  :dead-superseded  :bury  :holds  :hold
--          :leases  :parked  :since  :depth
-- ARGV     lane, token, taken, delivered, folded, invalid_unnamed, the audience's label, now or '',
--          how many superseded, its number…, dead letter…
-- returns  1, or 0 when the lease is no longer the caller's
local lane, taken, now = ARGV[1], tonumber(ARGV[3]), clock(ARGV[8])
if not holds_lease(lane, ARGV[2]) then
  return 0
end
local first_letter = 10 + tonumber(ARGV[9])
redis.call('LTRIM', lane_key(lane), taken, -1)
redis.call('HINCRBY', COUNTERS, 'waiting', 0 - taken)
redis.call('HINCRBY', COUNTERS, 'delivered', ARGV[4])
if lane == ERASURES then
  redis.call('DEL', ERASING)
elseif taken > 0 then
  redis.call('HSET', AUDIENCES, lane, ARGV[7])
end
redis.call('HINCRBY', COUNTERS, 'folded', ARGV[5])
redis.call('HINCRBY', COUNTERS, 'buried', #ARGV - first_letter + 1)
if ARGV[6] ~= '0' then
  redis.call('HINCRBY', COUNTERS, 'invalid_unnamed', ARGV[6])
end
for i = 10, first_letter - 1 do
  if redis.call('HEXISTS', DEAD, ARGV[i]) == 1 then
    redis.call('SADD', SUPERSEDED, ARGV[i])
  end
end
for i = first_letter, #ARGV do
  bury(ARGV[i], now)
end
redis.call('SREM', BURY, lane)
local hold = lane_hold(lane)
if hold and not (hold.by_hand and lasts(hold, now)) then
  redis.call('HDEL', HOLDS, lane)
end
if not is_by_hand(destination_hold(), now) then
  redis.call('DEL', HOLD)
end
redis.call('HDEL', LEASES, lane)
schedule(lane, now)
return 1
