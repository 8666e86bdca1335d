-- Learn from a 429: half of what was used in the last minute is the rate from now on (multiplicative decrease).
-- KEYS     relay:{credential:<id>}; touches :rate  (reads :used:<minute>)
-- ARGV     now (ms) or ''
local FLOOR = 10 -- calls a minute: below that the holds after each 429 slow down enough
local root = KEYS[1]
local time = redis.call('TIME')
local now = ARGV[1] ~= '' and tonumber(ARGV[1]) or time[1] * 1000 + math.floor(time[2] / 1000)
local learned, learned_at = unpack(redis.call('HMGET', root .. ':rate', 'learned', 'learned_at'))
if learned and now - tonumber(learned_at) < 60000 then
  return 0 -- the same minute at the vendor
end
local minute = math.floor(now / 60000)
local function used(which)
  return tonumber(redis.call('GET', root .. ':used:' .. string.format('%.0f', which)) or 0)
end
local rate = used(minute) + used(minute - 1) * (1 - now % 60000 / 60000)
if learned then
  rate = math.min(rate, tonumber(learned))
end
redis.call('HDEL', root .. ':rate', 'learned')
redis.call(
  'HSET', root .. ':rate', 'learned', string.format('%.3f', math.max(FLOOR, rate / 2)), 'learned_at', string.format('%.0f', now)
)
redis.call('PEXPIRE', root .. ':rate', 86400000)
return 1
