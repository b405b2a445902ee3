--[[ release: gives a shard back, with nothing in hand.
     KEYS[1] lease    KEYS[2] state    ARGV[1] token    Returns 1, or 0 when it was not ours any more. ]]
if redis.call('HGET', KEYS[2], 'owner') ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return redis.call('HSET', KEYS[2], 'owner', '')
