-- Claim as many wake-ups as lanes are due, within what may run at once. A claim that is not used runs out.
-- touches  :wakeups  :parked  :since  :depth  :leases  :holds  :audiences  (reads :hold)
-- ARGV     claim_ms, settle_ms, max_changes, max_age_ms, max_in_flight, now or '', claim id…
-- returns  how many of the given claims to send, in how many ms to look again (-1: no lane is due by its age)
local now = clock(ARGV[6])
redis.call('ZREMRANGEBYSCORE', WAKEUPS, '-inf', integer(now))
revive(now, tonumber(ARGV[2]))
local allowed = allowance(now, tonumber(ARGV[5]))
local room = allowed - redis.call('ZCARD', WAKEUPS)
local due = redis.call('ZCOUNT', SINCE, '-inf', integer(now - tonumber(ARGV[4])))
if redis.call('ZSCORE', SINCE, ERASURES) then
  due = due + 1
end
if due < room then
  due = due + redis.call('ZCOUNT', DEPTH, ARGV[3], '+inf')
end
local count = math.max(0, math.min(room, due, #ARGV - 6))
for i = 7, 6 + count do
  redis.call('ZADD', WAKEUPS, integer(now + tonumber(ARGV[1])), ARGV[i])
end

-- What is due and finds no room is looked at again soon: those who are at work may just be ending.
local SOON, age = 50, tonumber(ARGV[4])
local next_head = redis.call('ZRANGEBYSCORE', SINCE, '(' .. integer(now - age), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
local again = next_head and math.ceil(next_head + age - now) or -1
if due > count and allowed > 0 and (again < 0 or again > SOON) then
  again = SOON
end
return { count, again }
