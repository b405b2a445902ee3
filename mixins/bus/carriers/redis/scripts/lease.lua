--[[ lease: takes a shard nobody owns.
     KEYS[1] lease (string: token)    KEYS[2] state (hash: cursor, passed, owner, epoch, last)    KEYS[3] settled ahead (set)
     KEYS[4] failures (hash: position → attempts:crashes:due)    KEYS[5] log (stream)
     ARGV[1] member    ARGV[2] lifetime in ms    ARGV[3] salt, so that a token never comes back after a flush
     The first write takes no memory, so that it works when Redis is full (see settle.lua).
     Returns { token, cursor, '1' when the former owner gave it back, now in ms, ahead, failures } or nothing. ]]
if redis.call('EXISTS', KEYS[1]) == 1 then return false end
redis.call('HDEL', KEYS[2], '')
local epoch = redis.call('HINCRBY', KEYS[2], 'epoch', 1)
local token = ARGV[1] .. ':' .. epoch .. ':' .. ARGV[3]
redis.call('SET', KEYS[1], token, 'PX', ARGV[2])
local owner = redis.call('HGET', KEYS[2], 'owner')
local cursor = redis.call('HGET', KEYS[2], 'cursor')
if not cursor then
  -- A new group begins with the oldest entry kept: what was trimmed before counts as passed.
  cursor = '0'
  local passed = 0
  local info = redis.pcall('XINFO', 'STREAM', KEYS[5])
  if not info.err then
    local fields = {}
    for i = 1, #info, 2 do fields[info[i]] = info[i + 1] end
    if fields['entries-added'] then passed = fields['entries-added'] - fields['length'] end
  end
  redis.call('HSET', KEYS[2], 'cursor', cursor, 'passed', passed)
end
redis.call('HSET', KEYS[2], 'owner', token)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local released = '0'
if not owner or owner == '' then released = '1' end
return { token, cursor, released, now, redis.call('SMEMBERS', KEYS[3]), redis.call('HGETALL', KEYS[4]) }
