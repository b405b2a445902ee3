--[[ take-tokens: a token bucket on the server's clock; the same sums as bucket.ts.
     KEYS[1] the bucket (text: "<tokens> <ms of the last refill>")
     ARGV[1] tokens to take   ARGV[2] tokens per second   ARGV[3] size   ARGV[4] '1' = always take, also below zero
     Returns {1 or 0, tokens remaining, ms until it could succeed}.
     TIME before a write is safe: scripts replicate their effects since Redis 5. ]]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local count, rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local state = redis.call('GET', KEYS[1])
local available = burst
if state then
  local tokens, at = string.match(state, '^(%S+) (%S+)$')
  if not tokens then return redis.error_reply('WRONGTYPE not a bucket') end
  at = tonumber(at)
  available = math.min(burst, tonumber(tokens) + math.max(0, now - at) * rate / 1000)
  now = math.max(now, at)
end
local left = available - count
local wait = 0
if left < 0 then wait = math.ceil(-left * 1000 / rate) end
local tokens = available
if ARGV[4] == '1' or left >= 0 then tokens = left end
local life = math.ceil((burst - tokens) * 1000 / rate) + 1000
redis.call('SET', KEYS[1], string.format('%.17g %d', tokens, now), 'PX', math.max(1000, math.min(life, 315360000000)))
local ok = 0
if wait == 0 then ok = 1 end
return { ok, math.max(0, math.floor(tokens)), wait }
