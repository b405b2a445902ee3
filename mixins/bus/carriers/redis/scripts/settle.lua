--[[ settle: one step forward of a group in a shard, all of it or nothing, by the owner only.
     KEYS[1] state    KEYS[2] settled ahead    KEYS[3] failures    KEYS[4] dead letters (stream)    KEYS[5] log (stream)
     ARGV[1] token    ARGV[2] number of this settlement: the same one is done once    ARGV[3] cursor    ARGV[4] entries passed    then four lists, each
     led by its length: positions to forget; positions settled ahead; failures (position, attempts, crashes, ms until due);
     deaths (id, topic, workspace, body, attempts, error, message).
     Returns 1; 0 when the token is not the owner's any more; -1 when the log has no entry at the cursor: it is not the log that was read, but what a replica
     that lagged had of it. A cursor beyond its end would pass over entries to come.
     The first write is one that takes no memory: a script that has begun to write may go on when Redis has reached `maxmemory`. Groups must be able to
     settle then, or a full log would never be emptied. https://redis.io/docs/latest/develop/programmability/eval-intro/ ]]
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
if redis.call('HGET', KEYS[1], 'last') == ARGV[2] then return 1 end
if redis.call('HGET', KEYS[1], 'cursor') ~= ARGV[3] and #redis.call('XRANGE', KEYS[5], ARGV[3], ARGV[3]) == 0 then return -1 end
redis.call('HDEL', KEYS[1], '')
redis.call('HSET', KEYS[1], 'cursor', ARGV[3], 'last', ARGV[2])
if ARGV[4] ~= '0' then redis.call('HINCRBY', KEYS[1], 'passed', ARGV[4]) end
local at = 5
local count = tonumber(ARGV[at])
for i = at + 1, at + count do
  redis.call('SREM', KEYS[2], ARGV[i])
  redis.call('HDEL', KEYS[3], ARGV[i])
end
at = at + count + 1
count = tonumber(ARGV[at])
for i = at + 1, at + count do redis.call('SADD', KEYS[2], ARGV[i]) end
at = at + count + 1
count = tonumber(ARGV[at])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = at + 1, at + count * 4, 4 do
  redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1] .. ':' .. ARGV[i + 2] .. ':' .. string.format('%.0f', now + ARGV[i + 3]))
end
at = at + count * 4 + 1
count = tonumber(ARGV[at])
for i = at + 1, at + count * 7, 7 do
  redis.call('XADD', KEYS[4], '*', 'i', ARGV[i], 't', ARGV[i + 1], 'w', ARGV[i + 2], 'b', ARGV[i + 3], 'a', ARGV[i + 4], 'e', ARGV[i + 5], 'm', ARGV[i + 6])
end
return 1
