-- Let nobody use a credential for so long; a longer hold that lasts stays. Begins with DEL: a full Redis lets it pass.
-- A hold that is ordinary counts as none in a row; one that is not does also where an ordinary one lasts.
-- KEYS     relay:{credential:<id>}; touches :hold  :attempts
-- ARGV     reason, how long (ms), how long to remember it after its end (ms), 'ordinary' or '', now (ms) or ''
-- returns  how often in a row it was held, 0: this hold is ordinary
local root = KEYS[1]
local time = redis.call('TIME')
local now = ARGV[5] ~= '' and tonumber(ARGV[5]) or time[1] * 1000 + math.floor(time[2] / 1000)
local hold = { reason = ARGV[1], since = now, ['until'] = now + tonumber(ARGV[2]), attempts = 0 }
local found = redis.call('GET', root .. ':hold')
local last = found and cjson.decode(found)
if last and last['until'] > now then
  hold.since, hold.attempts = last.since, last.attempts
  if last['until'] > hold['until'] then
    hold.reason, hold['until'] = last.reason, last['until']
  end
end
local life = string.format('%.0f', hold['until'] - now + tonumber(ARGV[3]))
redis.call('DEL', root .. ':hold')
if ARGV[4] == '' then
  if hold.attempts == 0 then
    hold.attempts = redis.call('INCR', root .. ':attempts')
  end
  redis.call('PEXPIRE', root .. ':attempts', life)
end
redis.call('SET', root .. ':hold', cjson.encode(hold), 'PX', life)
return hold.attempts
