-- Note how many erasures are under way, and that a lane has passed them.
-- touches  :erasing  :since  (reads :leases)
-- ARGV     token of the lease of the erasures, how many, lane or ''
-- returns  1, or 0 when that lease is no longer the caller's
if not holds_lease(ERASURES, ARGV[1]) then
  return 0
end
redis.call('ZREM', SINCE, ERASURES)
redis.call('HSET', ERASING, '#', ARGV[2])
if ARGV[3] ~= '' then
  redis.call('HSET', ERASING, ARGV[3], '')
end
return 1
