--[[ set-document: replaces a document.
     KEYS[1] the document (hash: v, n, t)
     ARGV[1] JSON text   ARGV[2] new token   ARGV[3] life in ms, -1 = forever   ARGV[4] expected version, 0 = must be absent, -1 = any
     Returns {new version, -1}, or {-1, present version} on conflict. ]]
local version = tonumber(redis.call('HGET', KEYS[1], 'n') or '0')
if ARGV[4] ~= '-1' and tonumber(ARGV[4]) ~= version then return { -1, version } end
redis.call('HSET', KEYS[1], 'v', ARGV[1], 'n', version + 1, 't', ARGV[2])
if ARGV[3] == '-1' then redis.call('PERSIST', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return { version + 1, -1 }
