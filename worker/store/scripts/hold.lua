-- Give a lease back with a hold on the lane, on the whole destination, or on neither.
-- touches  :leases  :holds  :hold  :parked  :since  :depth
-- ARGV     lane, token, reason, lane hold (ms, 0: none), how long the vendor may still apply what it was sent (ms, 0: it
--          may not), attempts that this is, destination hold (ms, 0: none), counts as a fault ('1' or '0'), now or ''
-- returns  1, or 0 when the lease is no longer the caller's
local lane, reason, now = ARGV[1], ARGV[3], clock(ARGV[9])
if not holds_lease(lane, ARGV[2]) then
  return 0
end
redis.call('HDEL', LEASES, lane)
local held, settling = tonumber(ARGV[4]), tonumber(ARGV[5])
if held > 0 or settling > 0 then
  write_hold(lane, reason, now, now + held, settling > 0 and now + settling or 0, tonumber(ARGV[6]))
end
schedule(lane, now)
if ARGV[8] == '1' then
  redis.call('HINCRBY', HOLD, 'faults', 1)
end
local standing = destination_hold()
if tonumber(ARGV[7]) > 0 and not is_by_hand(standing, now) then
  if standing.by_hand then
    redis.call('HDEL', HOLD, 'by_hand', 'since')
  end
  redis.call('HSETNX', HOLD, 'since', integer(now))
  redis.call('HSET', HOLD, 'reason', reason, 'until', integer(now + tonumber(ARGV[7])))
  redis.call('HINCRBY', HOLD, 'attempts', 1)
end
return 1
