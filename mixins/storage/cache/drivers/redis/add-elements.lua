--[[ add-elements: adds to a list or a set and gives it a new life, in one step.
     KEYS[1] the list or set   ARGV[1] RPUSH or SADD   ARGV[2] life in ms, 0 = keep   ARGV[3…] elements
     Returns what the command returns: the length of the list, or how many members are new. ]]
local answer = 0
-- Lua's stack holds some 8000 values: long lists go in portions.
local first = 3
local total = 0
while first <= #ARGV do
  local last = math.min(first + 4999, #ARGV)
  answer = redis.call(ARGV[1], KEYS[1], unpack(ARGV, first, last))
  total = total + answer
  first = last + 1
end
if ARGV[2] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
if ARGV[1] == 'SADD' then return total end
return answer
