-- Keep what a renewal brought: a token and its life, or why there is none.
-- KEYS     relay:{credential:<id>}; touches :token
-- ARGV     renewer's id, token or '', its life (ms), when to renew it (ms before its end), reason or '', how long to believe the reason (ms), now or ''
local key, now = KEYS[1] .. ':token', tonumber(ARGV[7])
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
  redis.call('HSET', key, 'token', ARGV[2], 'ends', string.format('%.0f', now + tonumber(ARGV[3])), 'margin', ARGV[4])
elseif ARGV[5] ~= '' then
  redis.call('HSET', key, 'refused', ARGV[5], 'refused_until', string.format('%.0f', now + tonumber(ARGV[6])))
end
redis.call('PEXPIRE', key, 86400000)
return 1
