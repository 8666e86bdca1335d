-- Put dead letters of one lane back at its head, oldest first, with the stamps they had.
-- touches  :lane:<lane>  :counters  :dead  :dead-by-time  :dead-persons  :dead-superseded  :parked  :since  :depth  (reads :leases, :holds)
-- ARGV     lane, force ('1' or '0'), now or '', number…
-- returns  how many were replayed, how many are superseded; or -1 while the lane is leased
local lane, now = ARGV[1], clock(ARGV[3])
if lease_of(lane) then
  return { -1, 0 }
end
local values, superseded = {}, 0
for i = 4, #ARGV do
  local id = ARGV[i]
  local letter = redis.call('HGET', DEAD, id)
  if letter and ARGV[2] ~= '1' and redis.call('SISMEMBER', SUPERSEDED, id) == 1 then
    superseded = superseded + 1
  elseif letter then
    local head, change = split_letter(letter)
    values[#values + 1] = head.stamp .. change
    forget_letter(id, head)
  end
end
if #values > 0 then
  table.sort(values, function(a, b)
    return string.sub(a, 1, 13) > string.sub(b, 1, 13)
  end)
  for _, value in ipairs(values) do
    redis.call('LPUSH', lane_key(lane), value)
  end
  redis.call('HINCRBY', COUNTERS, 'buried', -#values)
  redis.call('HINCRBY', COUNTERS, 'waiting', #values)
  schedule(lane, now)
end
return { #values, superseded }
