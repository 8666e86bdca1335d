-- Forget dead letters on somebody's order, or because they are too old or too many.
-- touches  :counters  :dead  :dead-by-time  :dead-persons  :dead-superseded
-- ARGV     counter beside `discarded`, or '', number…
-- returns  how many there were
local count = 0
for i = 2, #ARGV do
  local letter = redis.call('HGET', DEAD, ARGV[i])
  if letter then
    local head = split_letter(letter)
    forget_letter(ARGV[i], head)
    count = count + 1
  end
end
if count > 0 then
  redis.call('HINCRBY', COUNTERS, 'buried', -count)
  redis.call('HINCRBY', COUNTERS, 'discarded', count)
  if ARGV[1] ~= '' then
    redis.call('HINCRBY', COUNTERS, ARGV[1], count)
  end
end
return count
