--[[ release-lease: gives a lease back, if it is the caller's.
     KEYS[1] the lease   ARGV[1] owner
     Returns 1 when it was. ]]
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1
