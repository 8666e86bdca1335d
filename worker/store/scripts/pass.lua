-- Note how many of the oldest erasures a lane has passed.
-- touches  :erasing  :since  (reads :leases)
-- ARGV     token of the lease of the erasures, lane, how many
-- returns  1, or 0 when that lease is no longer the caller's
if not holds_lease(ERASURES, ARGV[1]) then
  return 0
end
redis.call('ZREM', SINCE, ERASURES)
redis.call('HSET', ERASING, ARGV[2], ARGV[3])
return 1
