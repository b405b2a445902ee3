--[[ evict: opens a shard of a member whose process is gone, as if its lease had run out.
     KEYS[1] lease    KEYS[2] state    ARGV[1] member    Returns 1, or 0 when it was not the owner.
     The owner stays written down: whoever takes the shard knows that it was not given back. ]]
local owner = redis.call('HGET', KEYS[2], 'owner')
local prefix = ARGV[1] .. ':'
if not owner or string.sub(owner, 1, #prefix) ~= prefix then return 0 end
redis.call('DEL', KEYS[1])
return 1
