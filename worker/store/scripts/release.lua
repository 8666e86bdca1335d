-- End a hold, whoever made it: of a lane, or of the destination.
-- touches  :bury  :holds  :hold  :parked  :since  :depth  (reads :leases)
-- ARGV     lane or '', let the lane's next attempt bury however many ('1' or '0'), now or ''
-- returns  1 when a hold lasted
local lane, now = ARGV[1], clock(ARGV[3])
if lane == '' then
  local lasted = lasts(destination_hold(), now)
  redis.call('DEL', HOLD)
  return lasted and 1 or 0
end
local was = lasts(lane_hold(lane), now) and 1 or 0
redis.call('HDEL', HOLDS, lane)
if ARGV[2] == '1' then
  redis.call('SADD', BURY, lane)
end
if not lease_of(lane) then
  schedule(lane, now)
end
return was
