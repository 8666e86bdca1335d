-- Stands before every script of a destination.
-- KEYS[1]  relay:{destination}; every other key is this one and a suffix (see store/keys.py), so all lie in one slot.
-- KEYS[2]  is not used: see declared() there.
-- Scripts of the drain path write with ZREM, LTRIM, DEL or HDEL first: a full Redis then lets the rest pass.
local root = KEYS[1]
local SINCE, DEPTH, PARKED = root .. ':since', root .. ':depth', root .. ':parked'
local LEASES, HOLDS, HOLD = root .. ':leases', root .. ':holds', root .. ':hold'
local COUNTERS, WAKEUPS = root .. ':counters', root .. ':wakeups'
-- Requests to forget persons: due at once, and before every other lane.
local ERASURES, ERASING = '-1/erasures', root .. ':erasing'
-- Lanes for which the vendor took, or may have taken, anything.
local AUDIENCES = root .. ':audiences'

-- Redis time in ms; tests pass their own.
local function clock(given)
  if given and given ~= '' then
    return tonumber(given)
  end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function lane_key(lane)
  return root .. ':lane:' .. lane
end

local function integer(number)
  return string.format('%.0f', number)
end

-- An audience has one lane, or so many as :shards says; another number only while all it has are at rest.
local SHARDS = root .. ':shards'

local function shard_lane(shard, audience)
  return integer(shard) .. '/' .. audience
end

local function shards_of(audience)
  return tonumber(redis.call('HGET', SHARDS, audience) or 1)
end

-- While persons are being forgotten none changes: an erasure takes each out of the lane that was theirs when it began.
local function are_at_rest(audience, shards)
  if redis.call('EXISTS', lane_key(ERASURES)) == 1 then
    return false
  end
  for shard = 0, shards - 1 do
    local lane = shard_lane(shard, audience)
    local waits = redis.call('EXISTS', lane_key(lane)) == 1
    if waits or redis.call('HEXISTS', LEASES, lane) == 1 or redis.call('HEXISTS', HOLDS, lane) == 1 then
      return false
    end
  end
  return true
end

-- Whom the vendor holds by a lane that was, it may hold by any that is, and by no other.
local function set_shards(audience, before, shards)
  if shards == 1 then
    redis.call('HDEL', SHARDS, audience)
  else
    redis.call('HSET', SHARDS, audience, shards)
  end
  local label
  for shard = 0, before - 1 do
    label = label or redis.call('HGET', AUDIENCES, shard_lane(shard, audience))
  end
  for shard = 0, label and shards - 1 or -1 do
    redis.call('HSETNX', AUDIENCES, shard_lane(shard, audience), label)
  end
  for shard = shards, before - 1 do
    redis.call('HDEL', AUDIENCES, shard_lane(shard, audience))
  end
end

-- A hold's `until` of -1 lasts until somebody releases it.
local function lasts(hold, now)
  return hold ~= nil and hold['until'] ~= nil and (hold['until'] == -1 or hold['until'] > now)
end

local function lane_hold(lane)
  local found = redis.call('HGET', HOLDS, lane)
  return found and cjson.decode(found) or nil
end

-- Out of the schedule until `score`.
local function park(lane, score)
  redis.call('ZREM', SINCE, lane)
  redis.call('ZREM', DEPTH, lane)
  redis.call('ZADD', PARKED, score, lane)
end

-- Back into the schedule by what the lane holds now, unless a hold lasts.
local function schedule(lane, now)
  redis.call('ZREM', PARKED, lane)
  local hold = lane_hold(lane)
  local depth = redis.call('LLEN', lane_key(lane))
  if depth == 0 then
    redis.call('ZREM', SINCE, lane)
    redis.call('ZREM', DEPTH, lane)
    if hold and not lasts(hold, now) then
      redis.call('HDEL', HOLDS, lane)
    end
  end
  if lasts(hold, now) then
    park(lane, hold['until'] == -1 and '+inf' or integer(hold['until']))
  elseif depth > 0 then
    local stamp = string.sub(redis.call('LINDEX', lane_key(lane), 0), 1, 13)
    redis.call('ZADD', SINCE, stamp, lane)
    redis.call('ZADD', DEPTH, depth, lane)
  end
end

-- A lease is 'until sent token': when it ends, when its last request may at the latest have been sent (0: none was).
local function lease_of(lane)
  local found = redis.call('HGET', LEASES, lane)
  if not found then
    return nil
  end
  local ends, sent, token = string.match(found, '^(%d+) (%d+) (.+)$')
  return { ends = tonumber(ends), sent = tonumber(sent), token = token }
end

local function holds_lease(lane, token)
  local lease = lease_of(lane)
  return lease ~= nil and lease.token == token
end

local function keep_hold(lane, hold)
  redis.call('HDEL', HOLDS, lane)
  redis.call('HSET', HOLDS, lane, cjson.encode(hold))
end

-- A hold `settles` when a request of unknown outcome can no longer be applied: nobody's order makes that sooner.
local function no_sooner(ends, settles)
  return ends == -1 and -1 or math.max(ends, settles)
end

-- A hold by hand stays as it is, but for that. `attempts` are added to those in a row.
local function write_hold(lane, reason, now, ends, settles, attempts)
  local hold = lane_hold(lane) or { since = now, attempts = 0 }
  hold.settles = math.max(hold.settles or 0, settles)
  if hold.by_hand and lasts(hold, now) then
    hold['until'] = no_sooner(hold['until'], hold.settles)
  else
    hold.reason, hold['until'] = reason, no_sooner(ends, hold.settles)
    hold.attempts, hold.by_hand = hold.attempts + attempts, false
  end
  keep_hold(lane, hold)
end

-- Look again at parked lanes whose time has come. A lease that ran out after a request may have been sent
-- leaves an unknown outcome: nothing is sent for the lane until the vendor has had `settle_ms` for it.
local function revive(now, settle_ms)
  local parked = redis.call('ZRANGEBYSCORE', PARKED, '-inf', integer(now), 'LIMIT', 0, 500)
  for _, lane in ipairs(parked) do
    local lease = lease_of(lane)
    if lease then
      redis.call('HDEL', LEASES, lane)
      if lease.sent > 0 then
        redis.call('HSETNX', AUDIENCES, lane, '')
      end
      if lease.sent > 0 and lease.sent + settle_ms > now then
        write_hold(lane, 'worker lost', now, 0, lease.sent + settle_ms, 1)
      end
    end
    schedule(lane, now)
  end
end

local function destination_hold()
  local flat = redis.call('HGETALL', HOLD)
  local hold = { faults = 0 }
  for i = 1, #flat, 2 do
    hold[flat[i]] = flat[i + 1]
  end
  hold.faults = tonumber(hold.faults)
  hold['until'] = tonumber(hold['until'])
  return hold
end

-- Whether an operator's hold of the destination lasts.
local function is_by_hand(hold, now)
  return hold.by_hand == '1' and lasts(hold, now)
end

-- How many lanes may be leased at once: none while held; one, as a probe, after a hold until a batch is delivered.
local function allowance(now, max_in_flight)
  local hold = destination_hold()
  if hold['until'] == nil then
    return max_in_flight
  end
  return lasts(hold, now) and 0 or 1
end

-- A dead letter is a line of JSON (lane, reason, stamp, persons), then the change as it was in its lane.
local DEAD, DEAD_TIMES = root .. ':dead', root .. ':dead-by-time'
local PERSONS, SUPERSEDED, BURY = root .. ':dead-persons', root .. ':dead-superseded', root .. ':bury'

local function split_letter(letter)
  local head, change = string.match(letter, '^([^\n]*)\n(.*)$')
  return cjson.decode(head), change
end

local function bury(letter, now)
  local id = redis.call('HINCRBY', COUNTERS, 'dead_letters', 1)
  local head = split_letter(letter)
  redis.call('HSET', DEAD, id, letter)
  redis.call('ZADD', DEAD_TIMES, integer(now), id)
  for _, person in ipairs(head.persons) do
    local known = redis.call('HGET', PERSONS, person)
    local mark = id .. '@' .. head.stamp
    redis.call('HSET', PERSONS, person, known and (known .. ' ' .. mark) or mark)
  end
end

local function forget_letter(id, head)
  redis.call('HDEL', DEAD, id)
  redis.call('ZREM', DEAD_TIMES, id)
  redis.call('SREM', SUPERSEDED, id)
  for _, person in ipairs(head.persons) do
    local left = {}
    for mark in string.gmatch(redis.call('HGET', PERSONS, person) or '', '%S+') do
      if string.match(mark, '^%d+') ~= tostring(id) then
        left[#left + 1] = mark
      end
    end
    redis.call('HDEL', PERSONS, person)
    if #left > 0 then
      redis.call('HSET', PERSONS, person, table.concat(left, ' '))
    end
  end
end
