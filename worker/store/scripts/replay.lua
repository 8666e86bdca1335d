-- Put dead letters of one lane back at its head, oldest first, with the stamps they had. An erasure that the lane has
-- passed has to look at it again.
-- touches  :lane:<lane>  :counters  :dead  :dead-by-time  :dead-persons  :dead-superseded  :erasing  :parked  :since  :depth
--          (reads :leases, :holds, :shards)
-- ARGV     lane, how many lanes the audience is taken to have, force ('1' or '0'), now or '', number…
-- returns  how many were replayed, how many are superseded; or -1 while the lane or the erasures are leased, or another
--          number is true
local lane, now = ARGV[1], clock(ARGV[4])
if lease_of(lane) or lease_of(ERASURES) or shards_of(string.match(lane, '/(.*)$')) ~= tonumber(ARGV[2]) then
  return { -1, 0 }
end
local values, superseded = {}, 0
for i = 5, #ARGV do
  local id = ARGV[i]
  local letter = redis.call('HGET', DEAD, id)
  if letter and ARGV[3] ~= '1' and redis.call('SISMEMBER', SUPERSEDED, id) == 1 then
    superseded = superseded + 1
  elseif letter then
    local head, change = split_letter(letter)
    values[#values + 1] = { head.stamp .. ',' .. change, tonumber(id) }
    forget_letter(id, head)
  end
end
local count = #values
if count > 0 then
  local function older(one, other)
    local first, second = string.sub(one[1], 1, 13), string.sub(other[1], 1, 13)
    return first < second or (first == second and one[2] < other[2])
  end
  table.sort(values, older)
  -- What was replayed before may wait there and be older: it is taken along, so that the lane stays in order.
  local newest, key = string.sub(values[count][1], 1, 13), lane_key(lane)
  local front = redis.call('LPOP', key)
  while front and string.sub(front, 1, 13) < newest do
    values[#values + 1] = { front, #values - count - 1e9 }
    front = redis.call('LPOP', key)
  end
  if front then
    redis.call('LPUSH', key, front)
  end
  table.sort(values, older)
  for i = #values, 1, -1 do
    redis.call('LPUSH', key, values[i][1])
  end
  redis.call('HDEL', ERASING, lane)
  redis.call('HINCRBY', COUNTERS, 'buried', -count)
  redis.call('HINCRBY', COUNTERS, 'waiting', count)
  schedule(lane, now)
end
return { count, superseded }
