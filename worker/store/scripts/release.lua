-- End a hold, whoever made it: of a lane, or of the destination.
-- touches  :bury  :holds  :hold  :parked  :since  :depth  (reads :leases)
-- ARGV     lane or '', let the lane's next attempt bury however many ('1' or '0'), now or ''
-- returns  1 when there was a hold
local lane, now = ARGV[1], clock(ARGV[3])
if lane == '' then
  return redis.call('DEL', HOLD)
end
if ARGV[2] == '1' then
  redis.call('SADD', BURY, lane)
end
local was = redis.call('HDEL', HOLDS, lane)
if not lease_of(lane) then
  schedule(lane, now)
end
return was
