-- Everything that `status` shows of one destination, at one moment.
-- touches  nothing  (reads :counters, :notices, :left-out, :hold, :holds, :leases, :since, :parked, :lane:<lane>)
-- ARGV     how many lanes at most, now or ''
-- returns  now, counters, hold, stamp of the oldest change that waits or '',
--          {lane, waiting, head's stamp, hold, leased}…, notices, left out
local most, now = tonumber(ARGV[1]), clock(ARGV[2])
local lanes, seen = {}, {}
local function show(lane)
  if seen[lane] or #lanes >= most then
    return
  end
  seen[lane] = true
  local depth = redis.call('LLEN', lane_key(lane))
  local hold = redis.call('HGET', HOLDS, lane)
  local stamp = depth > 0 and string.sub(redis.call('LINDEX', lane_key(lane), 0), 1, 13) or ''
  if depth > 0 or (hold and lasts(cjson.decode(hold), now)) then
    lanes[#lanes + 1] = { lane, depth, stamp, hold or '', lease_of(lane) and 1 or 0 }
  end
end
for _, index in ipairs({ PARKED, SINCE }) do
  for _, lane in ipairs(redis.call('ZRANGE', index, 0, most - 1)) do
    show(lane)
  end
end
local oldest = redis.call('ZRANGE', SINCE, 0, 0, 'WITHSCORES')[2]
for _, lane in ipairs(redis.call('ZRANGE', PARKED, 0, -1)) do
  local head = redis.call('LINDEX', lane_key(lane), 0)
  local stamp = head and tonumber(string.sub(head, 1, 13))
  if stamp and (not oldest or stamp < tonumber(oldest)) then
    oldest = stamp
  end
end
oldest = oldest and integer(tonumber(oldest)) or ''
local notices, left_out = redis.call('HGETALL', root .. ':notices'), redis.call('HGETALL', root .. ':left-out')
return { integer(now), redis.call('HGETALL', COUNTERS), redis.call('HGETALL', HOLD), oldest, lanes, notices, left_out }
