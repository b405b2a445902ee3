--[[ register: makes a group known. The first write takes no memory, so that it works when Redis is full (see settle.lua).
     KEYS[1] known groups (set)    ARGV[1] group    Returns 1 when it is new. ]]
redis.call('SREM', KEYS[1], '')
return redis.call('SADD', KEYS[1], ARGV[1])
