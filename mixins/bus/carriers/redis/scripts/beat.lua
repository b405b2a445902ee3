--[[ beat: a member says that it is alive; who else is?
     KEYS[1] members of the group (sorted set: member, expiry in ms)    KEYS[2] known groups (set)
     ARGV[1] group    ARGV[2] member    ARGV[3] lifetime in ms
     Returns the members alive. The clock is the server's: clocks of nodes do not matter. The first write takes no memory, so that it works when Redis is
     full (see settle.lua). ]]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[2])
return redis.call('ZRANGE', KEYS[1], 0, -1)
