-- Push changes onto the tail of one lane, each stamped with the time of arrival. Safe to repeat.
-- touches  :chunk:<id>  :seen:<window>:<shard>  :lane:<lane>  :since  :depth  :counters  (reads :parked, :lane:-1/erasures)
-- ARGV     lane, chunk id, how long it is remembered (ms), max_waiting, window for duplicates (ms, 0: none), now or '',
--          {message id's digest or '', value}…
-- returns  how many were appended, now or before; -1 there is no room
local lane, chunk, window, now = ARGV[1], root .. ':chunk:' .. ARGV[2], tonumber(ARGV[5]), clock(ARGV[6])
local before = redis.call('GET', chunk)
if before then
  return tonumber(before)
end
local given = (#ARGV - 6) / 2
local waiting = tonumber(redis.call('HGET', COUNTERS, 'waiting') or 0)
if waiting + given > tonumber(ARGV[4]) then
  return -1
end

-- Digests are kept as small sets of integers, by window; an id is known for one to two windows.
local current = window > 0 and math.floor(now / window) or 0
local function is_duplicate(digest)
  if window == 0 or digest == '' then
    return false
  end
  local shard = tonumber(string.sub(digest, -4)) or 0
  local here = root .. ':seen:' .. integer(current) .. ':' .. shard
  if redis.call('SISMEMBER', root .. ':seen:' .. integer(current - 1) .. ':' .. shard, digest) == 1 then
    return true
  end
  if redis.call('SADD', here, digest) == 0 then
    return true
  end
  if redis.call('SCARD', here) == 1 then
    redis.call('PEXPIRE', here, 2 * window)
  end
  return false
end

-- What comes after a request to forget that waits is newer than it, also within the millisecond.
local request = redis.call('LINDEX', lane_key(ERASURES), -1)
if request then
  now = math.max(now, tonumber(string.sub(request, 1, 13)) + 1)
end
local stamp, values = string.format('%013.0f', now), {}
for i = 7, #ARGV, 2 do
  if not is_duplicate(ARGV[i]) then
    values[#values + 1] = stamp .. ',' .. ARGV[i + 1]
  end
end
redis.call('SET', chunk, #values, 'PX', ARGV[3])
if #values < given then
  redis.call('HINCRBY', COUNTERS, 'duplicates', given - #values)
end
if #values == 0 then
  return 0
end
local depth = redis.call('RPUSH', lane_key(lane), unpack(values))
redis.call('HINCRBY', COUNTERS, 'accepted', #values)
redis.call('HINCRBY', COUNTERS, 'waiting', #values)
if not redis.call('ZSCORE', PARKED, lane) then
  redis.call('ZADD', SINCE, 'NX', stamp, lane)
  redis.call('ZADD', DEPTH, depth, lane)
end
return #values
