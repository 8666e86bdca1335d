-- Push changes onto the tail of an audience's lane, or of its lanes, each stamped with the time of arrival. Safe to repeat.
-- touches  :chunk:<id>  :seen:<window>:<shard>  :lane:<lane>  :since  :depth  :counters  :shards  :audiences
--          (reads :parked, :leases, :holds, :lane:-1/erasures)
-- ARGV     lane 0 of the audience, chunk id, how long it is remembered (ms), max_waiting, window for duplicates (ms, 0: none),
--          now or '', how many lanes the audience is to have, how many changes, {message id's digest or '', value}…,
--          bucket…: whole numbers that tell the lanes, or none of them
-- returns  how many were appended, now or before; -1 there is no room; -2 the audience has several lanes: give buckets
local first, chunk, window, now = ARGV[1], root .. ':chunk:' .. ARGV[2], tonumber(ARGV[5]), clock(ARGV[6])
local wanted, given = tonumber(ARGV[7]), tonumber(ARGV[8])
local before = redis.call('GET', chunk)
if before then
  return tonumber(before)
end

local audience = string.match(first, '^0/(.*)$')
local known = audience and shards_of(audience) or 1
local count = known
if known ~= wanted and are_at_rest(audience, known) then
  count = wanted
end
local buckets = 9 + 2 * given
if count > 1 and #ARGV < buckets then
  return -2
end

-- Digests are kept as small sets of integers, by window; an id is known for one to two windows.
local current = window > 0 and math.floor(now / window) or 0
local function seen(which, digest)
  return root .. ':seen:' .. integer(which) .. ':' .. (tonumber(string.sub(digest, -4)) or 0)
end
local function is_known(which, digest)
  return redis.call('SISMEMBER', seen(which, digest), digest) == 1
end
local function is_duplicate(digest)
  if window == 0 or digest == '' then
    return false
  end
  local here = seen(current, digest)
  if is_known(current - 1, digest) or redis.call('SADD', here, digest) == 0 then
    return true
  end
  if redis.call('SCARD', here) == 1 then
    redis.call('PEXPIRE', here, 2 * window)
  end
  return false
end

-- What is there already takes no room.
local function is_new(digest)
  return window == 0 or digest == '' or not (is_known(current - 1, digest) or is_known(current, digest))
end
local room, needed = tonumber(ARGV[4]) - tonumber(redis.call('HGET', COUNTERS, 'waiting') or 0), given
if needed > room then
  needed = 0
  for i = 9, buckets - 2, 2 do
    needed = needed + (is_new(ARGV[i]) and 1 or 0)
  end
  if needed > math.max(room, 0) then
    return -1
  end
end

-- What comes after a request to forget that waits is newer than it, also within the millisecond.
local request = redis.call('LINDEX', lane_key(ERASURES), -1)
if request then
  now = math.max(now, tonumber(string.sub(request, 1, 13)) + 1)
end
local stamp, values, appended = string.format('%013.0f', now), {}, 0
for i = 1, given do
  local digest, value = ARGV[7 + 2 * i], ARGV[8 + 2 * i]
  if not is_duplicate(digest) then
    local lane = count > 1 and shard_lane(ARGV[buckets + i - 1] % count, audience) or first
    values[lane] = values[lane] or {}
    table.insert(values[lane], stamp .. ',' .. value)
    appended = appended + 1
  end
end
redis.call('SET', chunk, appended, 'PX', ARGV[3])
if appended < given then
  redis.call('HINCRBY', COUNTERS, 'duplicates', given - appended)
end
if appended == 0 then
  return 0
end
if count ~= known then
  set_shards(audience, known, count)
end
for lane, mine in pairs(values) do
  local depth = redis.call('RPUSH', lane_key(lane), unpack(mine))
  if not redis.call('ZSCORE', PARKED, lane) then
    redis.call('ZADD', SINCE, 'NX', stamp, lane)
    redis.call('ZADD', DEPTH, depth, lane)
  end
end
redis.call('HINCRBY', COUNTERS, 'accepted', appended)
redis.call('HINCRBY', COUNTERS, 'waiting', appended)
return appended
