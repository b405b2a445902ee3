--[[ increment-window: a counter that lives from its first increment, a fixed window on the server's clock.
     KEYS[1] the counter   ARGV[1] by   ARGV[2] life in ms
     Returns {count, ms until it ends}. ]]
local count = redis.call('INCRBY', KEYS[1], ARGV[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  left = tonumber(ARGV[2])
end
return { count, left }
