-- Give a lease back with a hold on the lane, on the whole destination, or on neither.
-- touches  :leases  :holds  :hold  :parked  :since  :depth
-- ARGV     lane, token, reason, lane hold (ms, 0: none), destination hold (ms, 0: none), counts as a fault ('1' or '0'), now or ''
-- returns  1, or 0 when the lease is no longer the caller's
local lane, reason, now = ARGV[1], ARGV[3], clock(ARGV[7])
if not holds_lease(lane, ARGV[2]) then
  return 0
end
redis.call('HDEL', LEASES, lane)
if tonumber(ARGV[4]) > 0 then
  write_hold(lane, reason, now, now + tonumber(ARGV[4]), false)
end
schedule(lane, now)
if ARGV[6] == '1' then
  redis.call('HINCRBY', HOLD, 'faults', 1)
end
local standing = destination_hold()
if tonumber(ARGV[5]) > 0 and not is_by_hand(standing, now) then
  if standing.by_hand then
    redis.call('HDEL', HOLD, 'by_hand', 'since')
  end
  redis.call('HSETNX', HOLD, 'since', integer(now))
  redis.call('HSET', HOLD, 'reason', reason, 'until', integer(now + tonumber(ARGV[5])))
  redis.call('HINCRBY', HOLD, 'attempts', 1)
end
return 1
