-- Take permits for a conversation's requests by the generic cell rate algorithm: as many as asked, within the burst,
-- or none. Of the rate one fifth may come at once and the rest evenly: no window of a minute sees more than the rate.
-- KEYS     relay:{credential:<id>}; touches :limit  :used:<minute>  (reads :hold, :rate)
-- ARGV     permits (0: only look, negative: give back), calls a minute (0: not known), now (ms) or ''
-- returns  how long to wait (ms), permits taken, permits that are free, calls a minute as they are now (0: not known)
local root = KEYS[1]
local time = redis.call('TIME')
local now = ARGV[3] ~= '' and tonumber(ARGV[3]) * 1000 or time[1] * 1000000 + time[2]
local permits, rate = tonumber(ARGV[1]), tonumber(ARGV[2])
local told, learned, learned_at = unpack(redis.call('HMGET', root .. ':rate', 'told', 'learned', 'learned_at'))
if told then
  rate = tonumber(told)
end
if learned then
  -- additive increase, each minute: a quarter of the rate that is known, or else of what was learned
  local step = math.max(rate, tonumber(learned)) / 4
  local grown = tonumber(learned) + (now / 1000 - tonumber(learned_at)) / 60000 * step
  rate = rate > 0 and math.min(rate, grown) or grown
end
local held = redis.call('GET', root .. ':hold')
if held and permits >= 0 then
  local rest = cjson.decode(held)['until'] - now / 1000
  if rest > 0 then
    return { math.ceil(rest), 0, 0, math.floor(rate) }
  end
end
local minute = math.floor(now / 60000000)
local function used_in(which)
  return root .. ':used:' .. string.format('%.0f', which)
end
-- Not below 0; returns what that minute did not have.
local function uncount(given_back, which)
  local counted = math.min(given_back, tonumber(redis.call('GET', used_in(which)) or 0))
  if counted > 0 then
    redis.call('DECRBY', used_in(which), counted)
  end
  return given_back - counted
end
local function count(taken)
  if taken > 0 then
    redis.call('INCRBY', used_in(minute), taken)
    redis.call('PEXPIRE', used_in(minute), 180000)
  else
    uncount(uncount(-taken, minute), minute - 1)
  end
end
if rate == 0 then
  if permits ~= 0 then
    redis.call('DEL', root .. ':limit')
    count(permits)
  end
  return { 0, permits, 1000000, 0 }
end
local burst = math.max(1, math.floor(rate / 5))
local interval = math.ceil(60000000 / math.max(1, rate - burst))
permits = math.min(permits, burst)
local before = math.max(tonumber(redis.call('GET', root .. ':limit') or 0), now)
-- Where the rate was higher a moment ago, more may be taken than it allows.
local free = math.max(0, math.floor((burst * interval - (before - now)) / interval))
if permits > free then
  return { math.ceil((before + permits * interval - burst * interval - now) / 1000), 0, free, math.floor(rate) }
end
if permits ~= 0 then
  local arrival = before + permits * interval
  redis.call('DEL', root .. ':limit')
  if arrival > now then
    local life = math.ceil((arrival - now) / 1000) + 1000
    redis.call('SET', root .. ':limit', string.format('%.0f', arrival), 'PX', life)
  end
  count(permits)
end
return { 0, permits, free - permits, math.floor(rate) }
