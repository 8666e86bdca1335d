-- Hand out the access token, or the task of renewing it, to one caller at a time.
-- KEYS     relay:{credential:<id>}; touches :token
-- ARGV     renewer's id, how long a renewal may take (ms), a token that failed or '', now or ''
-- returns  {'use', token, how long before it is to be renewed (ms)}, {'renew'}, {'wait'} or {'refused', reason}
local key, now = KEYS[1] .. ':token', tonumber(ARGV[4])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local token, ends, margin, renewer, renew_ends, refused, refused_until =
  unpack(redis.call('HMGET', key, 'token', 'ends', 'margin', 'renewer', 'renew_ends', 'refused', 'refused_until'))
local usable = token and token ~= ARGV[3] and tonumber(ends) > now
if usable and tonumber(ends) - now > tonumber(margin) then
  return { 'use', token, math.floor(tonumber(ends) - now - tonumber(margin)) }
end
if refused and tonumber(refused_until) > now then
  return { 'refused', refused }
end
if renewer and renewer ~= ARGV[1] and tonumber(renew_ends) > now then
  return usable and { 'use', token, 0 } or { 'wait' }
end
redis.call('HDEL', key, 'renewer', 'refused', 'refused_until')
redis.call('HSET', key, 'renewer', ARGV[1], 'renew_ends', string.format('%.0f', now + tonumber(ARGV[2])))
redis.call('PEXPIRE', key, 86400000)
return { 'renew' }
