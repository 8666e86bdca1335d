-- Keep and forget a destination's notes, also in a full Redis; those that begin with `notice:` are for people.
-- touches  :notes  :notices
-- ARGV     how many to forget, name…, {name, value}…
local gone = tonumber(ARGV[1])
local function place_of(name)
  if string.sub(name, 1, 7) == 'notice:' then
    return root .. ':notices', string.sub(name, 8)
  end
  return root .. ':notes', name
end
for i = 2, gone + 1 do
  local key, name = place_of(ARGV[i])
  redis.call('HDEL', key, name)
end
for i = gone + 2, #ARGV, 2 do
  local key, name = place_of(ARGV[i])
  redis.call('HSET', key, name, ARGV[i + 1])
end
return 1
