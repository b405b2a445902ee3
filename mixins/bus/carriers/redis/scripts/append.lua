--[[ append: writes entries to a shard, in order, unless its log is full.
     KEYS[1] log    ARGV[1] most entries the shard may hold    then for each entry: head, body (see entries.ts)
     Returns the length of the log afterwards, or -1 when it is full and nothing was written. ]]
local length = redis.call('XLEN', KEYS[1])
if length >= tonumber(ARGV[1]) then return -1 end
for i = 2, #ARGV, 2 do redis.call('XADD', KEYS[1], '*', 'h', ARGV[i], 'b', ARGV[i + 1]) end
return length + (#ARGV - 1) / 2
