--[[ lease: takes a lease, or prolongs the caller's own.
     KEYS[1] the lease (text: owner)   ARGV[1] owner   ARGV[2] life in ms
     Returns 1 when the caller has it now, 0 when another owner does. ]]
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
