-- End a hold, whoever made it: of a lane, or of the destination.
-- touches  :holds  :hold  :parked  :since  :depth  (reads :leases)
-- ARGV     lane or '', now or ''
-- returns  1 when there was a hold
local lane, now = ARGV[1], clock(ARGV[2])
if lane == '' then
  return redis.call('DEL', HOLD)
end
local was = redis.call('HDEL', HOLDS, lane)
if not lease_of(lane) then
  schedule(lane, now)
end
return was
