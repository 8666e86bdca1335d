-- A wake-up starts to run: keep its claim for that long.
-- touches  :wakeups
-- ARGV     claim id, for how long (ms), now or ''
-- returns  1, or 0 when the claim has run out: another was, or will be, sent in its place
local now = clock(ARGV[3])
local ends = redis.call('ZSCORE', WAKEUPS, ARGV[1])
if not ends or tonumber(ends) <= now then
  return 0
end
redis.call('ZREM', WAKEUPS, ARGV[1])
redis.call('ZADD', WAKEUPS, integer(now + tonumber(ARGV[2])), ARGV[1])
return 1
