-- Let nobody use a credential for so long; a longer hold that lasts stays. Begins with DEL: a full Redis lets it pass.
-- KEYS     relay:{credential:<id>}; touches :hold
-- ARGV     reason, how long (ms), how long to remember it after its end (ms), now (ms) or ''
-- returns  how often in a row it was held
local root = KEYS[1]
local time = redis.call('TIME')
local now = ARGV[4] ~= '' and tonumber(ARGV[4]) or time[1] * 1000 + math.floor(time[2] / 1000)
local hold = { reason = ARGV[1], since = now, ['until'] = now + tonumber(ARGV[2]), attempts = 1 }
local found = redis.call('GET', root .. ':hold')
local last = found and cjson.decode(found)
if last and last['until'] > now then
  hold.since, hold.attempts = last.since, last.attempts
  if last['until'] > hold['until'] then
    hold.reason, hold['until'] = last.reason, last['until']
  end
elseif last then
  hold.attempts = last.attempts + 1
end
local life = string.format('%.0f', hold['until'] - now + tonumber(ARGV[3]))
redis.call('DEL', root .. ':hold')
redis.call('SET', root .. ':hold', cjson.encode(hold), 'PX', life)
return hold.attempts
