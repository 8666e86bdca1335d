-- Take permits for a conversation's requests, all or none, by the generic cell rate algorithm.
-- KEYS     relay:{credential:<id>}; touches :limit (reads :hold)
-- ARGV     permits (negative: give back), interval between two (µs), burst (permits), now (ms) or ''
-- returns  0 granted, else how long to wait (ms)
local limit, hold = KEYS[1] .. ':limit', KEYS[1] .. ':hold'
local now
if ARGV[4] ~= '' then
  now = tonumber(ARGV[4]) * 1000
else
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local permits, interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local held = redis.call('GET', hold)
if held and permits > 0 then
  local rest = cjson.decode(held)['until'] - now / 1000
  if rest > 0 then
    return math.ceil(rest)
  end
end
if interval == 0 then
  return 0
end
local arrival = math.max(tonumber(redis.call('GET', limit) or 0), now) + permits * interval
local early = arrival - burst * interval - now
if permits > 0 and early > 0 then
  return math.ceil(early / 1000)
end
redis.call('DEL', limit)
if arrival > now then
  redis.call('SET', limit, string.format('%.0f', arrival), 'PX', math.ceil((arrival - now) / 1000) + 1000)
end
return 0
