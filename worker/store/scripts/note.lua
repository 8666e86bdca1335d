-- Keep and forget a destination's notes, also in a full Redis.
-- touches  :notes
-- ARGV     how many to forget, name…, {name, value}…
local key, gone = root .. ':notes', tonumber(ARGV[1])
redis.call('HDEL', key, unpack(ARGV, 2, gone + 1))
for i = gone + 2, #ARGV, 2 do
  redis.call('HSET', key, ARGV[i], ARGV[i + 1])
end
return 1
