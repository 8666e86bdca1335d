-- An operator's hold on a lane or on the destination; it lasts until released.
-- touches  :holds  :hold  :parked  :since  :depth  (reads :leases)
-- ARGV     lane or '', reason, how long (ms, -1: until released), now or ''
local lane, reason, now = ARGV[1], ARGV[2], clock(ARGV[4])
local ends = tonumber(ARGV[3]) == -1 and -1 or now + tonumber(ARGV[3])
if lane == '' then
  redis.call('DEL', HOLD)
  redis.call('HSET', HOLD, 'reason', reason, 'since', integer(now), 'until', integer(ends), 'attempts', 0, 'by_hand', 1)
  return 1
end
local before = lane_hold(lane) or { attempts = 0 }
local settles = before.settles or 0
keep_hold(lane, {
  reason = reason,
  since = now,
  ['until'] = no_sooner(ends, settles),
  attempts = before.attempts,
  by_hand = true,
  settles = settles,
})
if not lease_of(lane) then
  schedule(lane, now)
end
return 1
