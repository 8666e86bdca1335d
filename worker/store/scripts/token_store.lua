-- Keep what a renewal brought: a token and its life, or why there is none.
-- KEYS     relay:{credential:<id>}; touches :token
-- ARGV     renewer's id, token or '', its life (ms), reason or '', how long to believe the reason (ms), now or ''
local key, now = KEYS[1] .. ':token', tonumber(ARGV[6])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local renewer = redis.call('HGET', key, 'renewer')
if renewer and renewer ~= ARGV[1] then
  return 0
end
redis.call('HDEL', key, 'renewer', 'renew_ends')
if ARGV[2] ~= '' then
  redis.call('HSET', key, 'token', ARGV[2], 'ends', string.format('%.0f', now + tonumber(ARGV[3])))
elseif ARGV[4] ~= '' then
  redis.call('HSET', key, 'refused', ARGV[4], 'refused_until', string.format('%.0f', now + tonumber(ARGV[5])))
end
redis.call('PEXPIRE', key, 86400000)
return 1
