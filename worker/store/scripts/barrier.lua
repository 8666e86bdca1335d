-- Until when a lane's changes may be read: an erasure that it has not passed waits for what came after it.
-- touches  nothing  (reads :erasing, :lane:-1/erasures)
-- ARGV     lane
-- returns  the stamp of that erasure, or ''
local passed = 0
if redis.call('HEXISTS', ERASING, ARGV[1]) == 1 then
  passed = tonumber(redis.call('HGET', ERASING, '#'))
end
local value = redis.call('LINDEX', lane_key(ERASURES), passed)
return value and string.sub(value, 1, 13) or ''
