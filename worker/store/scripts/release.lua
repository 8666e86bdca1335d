-- End a hold, whoever made it: of a lane, or of the destination. While the vendor may still apply a lane's last request,
-- the lane stays held.
-- touches  :bury  :holds  :hold  :parked  :since  :depth  (reads :leases)
-- ARGV     lane or '', let the lane's next attempt bury however many ('1' or '0'), now or ''
-- returns  1 when a hold lasted
local lane, now = ARGV[1], clock(ARGV[3])
if lane == '' then
  local lasted = lasts(destination_hold(), now)
  redis.call('DEL', HOLD)
  return lasted and 1 or 0
end
local hold = lane_hold(lane)
redis.call('HDEL', HOLDS, lane)
if hold and (hold.settles or 0) > now then
  keep_hold(lane, {
    reason = 'the vendor may still apply the last request',
    since = now,
    ['until'] = hold.settles,
    attempts = 0,
    by_hand = false,
    settles = hold.settles,
  })
end
if ARGV[2] == '1' then
  redis.call('SADD', BURY, lane)
end
if not lease_of(lane) then
  schedule(lane, now)
end
return lasts(hold, now) and 1 or 0
