--[[ read-state: what a compare-and-set starts from.
     KEYS[1] the document   KEYS[2…] keys of operation ids
     Returns {0, v, n, t, seen…} as compare-and-set does when it does not write. ]]
local state = redis.call('HMGET', KEYS[1], 'v', 'n', 't')
local seen = {}
for i = 2, #KEYS do seen[i - 1] = redis.call('EXISTS', KEYS[i]) end
return { 0, state[1], state[2], state[3], unpack(seen) }
