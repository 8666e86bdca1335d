-- Give the oldest due lane to one worker: erasures first, then by age, then by depth.
-- touches  :parked  :since  :depth  :leases  :holds  :audiences  (reads :hold, :lane:<lane>, :dead, :bury)
-- ARGV     token, lease_ms, settle_ms, max_changes, max_age_ms, max_in_flight, now or ''
-- returns  nil, or lane, its hold's attempts, the destination's faults in a row, its hold's attempts, dead letters,
--          whether the lane may bury however many
local now = clock(ARGV[7])
revive(now, tonumber(ARGV[3]))
if redis.call('HLEN', LEASES) >= allowance(now, tonumber(ARGV[6])) then
  return nil
end
local due = { redis.call('ZSCORE', SINCE, ERASURES) and ERASURES or nil }
if #due == 0 then
  due = redis.call('ZRANGEBYSCORE', SINCE, '-inf', integer(now - tonumber(ARGV[5])), 'LIMIT', 0, 1)
end
if #due == 0 then
  due = redis.call('ZREVRANGEBYSCORE', DEPTH, '+inf', ARGV[4], 'LIMIT', 0, 1)
end
if #due == 0 then
  return nil
end
local lane, ends = due[1], integer(now + tonumber(ARGV[2]))
park(lane, ends)
redis.call('HSET', LEASES, lane, ends .. ' 0 ' .. ARGV[1])
local held, hold = lane_hold(lane), destination_hold()
return {
  lane,
  held and held.attempts or 0,
  hold.faults,
  tonumber(hold.attempts or 0),
  redis.call('HLEN', DEAD),
  redis.call('SISMEMBER', BURY, lane),
}
