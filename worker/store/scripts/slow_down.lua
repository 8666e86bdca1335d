-- Learn from a 429: two thirds of what was used in the last minute is the rate from now on (multiplicative decrease).
-- Gently, since each 429 holds the credential besides, and a stray one must not slow a backlog down for long.
-- Where the rate is known and little of it was used, others must have used it up: nothing is learned.
-- KEYS     relay:{credential:<id>}; touches :rate  (reads :used:<minute>)
-- ARGV     calls a minute (0: not known), now (ms) or ''
-- returns  1 when a rate was learned
local FLOOR = 60 -- calls a minute: below that the holds after each 429 slow down enough
local root = KEYS[1]
local time = redis.call('TIME')
local now = ARGV[2] ~= '' and tonumber(ARGV[2]) or time[1] * 1000 + math.floor(time[2] / 1000)
local told, learned, learned_at = unpack(redis.call('HMGET', root .. ':rate', 'told', 'learned', 'learned_at'))
local known = tonumber(told or ARGV[1])
if learned and now - tonumber(learned_at) < 60000 then
  return 0 -- the same minute at the vendor
end
local minute = math.floor(now / 60000)
local function used_in(which)
  return tonumber(redis.call('GET', root .. ':used:' .. string.format('%.0f', which)) or 0)
end
local used = used_in(minute) + used_in(minute - 1) * (1 - now % 60000 / 60000)
if known > 0 and used < known / 4 then
  return 0
end
redis.call('HDEL', root .. ':rate', 'learned')
local rate = string.format('%.3f', math.max(FLOOR, used * 2 / 3))
redis.call('HSET', root .. ':rate', 'learned', rate, 'learned_at', string.format('%.0f', now))
redis.call('PEXPIRE', root .. ':rate', 86400000)
return 1
