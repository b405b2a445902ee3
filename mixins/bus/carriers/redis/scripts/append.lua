--[[ append: writes entries to one or several shards, in order: all of them, or none when the log of a shard is full.
     KEYS logs    ARGV[1] most entries a log may hold    then for each entry: number of its log in KEYS, head, body (see entries.ts)
     Returns 1, or -1 when nothing was written. The first XADD is the one that Redis refuses when its memory is full. ]]
local most = tonumber(ARGV[1])
for i = 1, #KEYS do
  if redis.call('XLEN', KEYS[i]) >= most then return -1 end
end
for i = 2, #ARGV, 3 do redis.call('XADD', KEYS[tonumber(ARGV[i])], '*', 'h', ARGV[i + 1], 'b', ARGV[i + 2]) end
return 1
