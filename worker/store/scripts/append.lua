-- Push changes onto the tail of one lane, each stamped with the time of arrival. Safe to repeat.
-- touches  :chunk:<id>  :lane:<lane>  :since  :depth  :counters  (reads :parked)
-- ARGV     lane, chunk id, how long the chunk id is remembered (ms), max_waiting, now or '', value…
-- returns  1 appended now or before, 0 there is no room
local lane, chunk, now = ARGV[1], root .. ':chunk:' .. ARGV[2], clock(ARGV[5])
if redis.call('EXISTS', chunk) == 1 then
  return 1
end
local count = #ARGV - 5
local waiting = tonumber(redis.call('HGET', COUNTERS, 'waiting') or 0)
if waiting + count > tonumber(ARGV[4]) then
  return 0
end
redis.call('SET', chunk, '1', 'PX', ARGV[3])
local stamp, values = string.format('%013.0f', now), {}
for i = 6, #ARGV do
  values[i - 5] = stamp .. ARGV[i]
end
local depth = redis.call('RPUSH', lane_key(lane), unpack(values))
redis.call('HINCRBY', COUNTERS, 'accepted', count)
redis.call('HINCRBY', COUNTERS, 'waiting', count)
if not redis.call('ZSCORE', PARKED, lane) then
  redis.call('ZADD', SINCE, 'NX', stamp, lane)
  redis.call('ZADD', DEPTH, depth, lane)
end
return 1
