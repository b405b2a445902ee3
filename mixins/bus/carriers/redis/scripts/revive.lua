--[[ revive: puts one dead entry back at the end of the log, for its group alone.
     KEYS[1] dead letters    KEYS[2] log    ARGV[1] id of the dead letter    ARGV[2] group    Returns 1, or 0 when it is gone. ]]
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if #found == 0 then return 0 end
local fields = {}
local list = found[1][2]
for i = 1, #list, 2 do fields[list[i]] = list[i + 1] end
redis.call('XADD', KEYS[2], '*', 'h', fields.i .. '\n' .. fields.w .. '\n' .. ARGV[2] .. '\n' .. fields.t, 'b', fields.b)
return redis.call('XDEL', KEYS[1], ARGV[1])
