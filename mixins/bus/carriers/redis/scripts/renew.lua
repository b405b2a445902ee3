--[[ renew: prolongs a lease that is still ours. One that ran out is ours as long as nobody took it: it only says from when on others may.
     KEYS[1] lease    KEYS[2] state    ARGV[1] token    ARGV[2] lifetime in ms    Returns 1, or 0 when it is not ours any more.
     The first write takes no memory, so that it works when Redis is full (see settle.lua). ]]
if redis.call('HGET', KEYS[2], 'owner') ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[2], '')
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
