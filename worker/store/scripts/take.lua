-- Lease one lane for an erasure, whether or not it is due or held, beside those that may be leased at once.
-- touches  :parked  :since  :depth  :leases  :holds  :audiences  (reads :lane:<lane>)
-- ARGV     lane, token, lease_ms, settle_ms, now or ''
-- returns  0 while it is leased; else 1, its hold as JSON or ''
local lane, now = ARGV[1], clock(ARGV[5])
revive(now, tonumber(ARGV[4]))
if lease_of(lane) then
  return { 0, '' }
end
local hold, ends = lane_hold(lane), integer(now + tonumber(ARGV[3]))
park(lane, ends)
redis.call('HSET', LEASES, lane, ends .. ' 0 ' .. ARGV[2])
return { 1, lasts(hold, now) and cjson.encode(hold) or '' }
