--[[ compare-and-set: writes a document only over the state the caller has read.
     KEYS[1]   the document (hash: v JSON text, n version, t token of the last write)
     KEYS[2…]  one key per operation id of this write; each is remembered so that a repetition changes nothing
     ARGV[1] token that was read, '' = must be absent   ARGV[2] new JSON text, '' = remove the document
     ARGV[3] new version   ARGV[4] new token   ARGV[5] life in ms, 0 = keep, -1 = forever   ARGV[6] life of operation ids in ms
     Returns {1} when written; {0, v, n, t, seen…} when not: the present state (false when absent), and 1 or 0 per operation id.
     The token is new with each write, so a document that was removed and made again is never taken for the one that was read. ]]
local token = redis.call('HGET', KEYS[1], 't') or ''
local seen, isRepeated = {}, false
for i = 2, #KEYS do
  seen[i - 1] = redis.call('EXISTS', KEYS[i])
  isRepeated = isRepeated or seen[i - 1] == 1
end
if token ~= ARGV[1] or isRepeated then
  local state = redis.call('HMGET', KEYS[1], 'v', 'n', 't')
  return { 0, state[1], state[2], state[3], unpack(seen) }
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('HSET', KEYS[1], 'v', ARGV[2], 'n', ARGV[3], 't', ARGV[4])
  if ARGV[5] == '-1' then redis.call('PERSIST', KEYS[1]) elseif ARGV[5] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[5]) end
end
for i = 2, #KEYS do redis.call('SET', KEYS[i], '1', 'PX', ARGV[6]) end
return { 1 }
