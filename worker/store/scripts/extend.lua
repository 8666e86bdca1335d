-- Keep a lease for one more request, directly before it is sent.
-- touches  :parked  :leases
-- ARGV     lane, token, lease_ms, how long the request may take (ms), now or ''
-- returns  1, or 0 when the lease is no longer the caller's
local lane, now = ARGV[1], clock(ARGV[5])
if not holds_lease(lane, ARGV[2]) then
  return 0
end
local ends = integer(now + tonumber(ARGV[3]))
redis.call('ZREM', PARKED, lane)
redis.call('ZADD', PARKED, ends, lane)
redis.call('HSET', LEASES, lane, ends .. ' ' .. integer(now + tonumber(ARGV[4])) .. ' ' .. ARGV[2])
return 1
