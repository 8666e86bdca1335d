-- Until when a lane's changes may be read: an erasure that it has not passed waits for what came after it. A lane of
-- which the vendor has nobody, and in which nothing is older, has nothing to do with it.
-- touches  nothing  (reads :erasing, :audiences, :lane:<lane>, :lane:-1/erasures)
-- ARGV     lane
-- returns  the stamp of that erasure, or ''
local lane = ARGV[1]
local request = redis.call('LINDEX', lane_key(ERASURES), tonumber(redis.call('HGET', ERASING, lane) or 0))
if not request then
  return ''
end
local stamp, head = string.sub(request, 1, 13), redis.call('LINDEX', lane_key(lane), 0)
if head and string.sub(head, 1, 13) > stamp and redis.call('HEXISTS', AUDIENCES, lane) == 0 then
  return ''
end
return stamp
