--[[ find: where the entry of an event stands, in a part of a log. Only the place leaves Redis, not what is looked through.
     KEYS[1] log    ARGV[1] id of the event    ARGV[2], ARGV[3] first and last stream id    ARGV[4] entries looked at at most
     Returns its stream id or '', and the stream id at which to go on or ''. ]]
local entries = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[3], 'COUNT', ARGV[4])
local head = ARGV[1] .. '\n'
for _, entry in ipairs(entries) do
  local fields = entry[2]
  -- The id is the first line of an entry's head (entries.ts).
  if fields and fields[1] == 'h' and string.sub(fields[2], 1, #head) == head then return { entry[1], '' } end
end
if #entries < tonumber(ARGV[4]) then return { '', '' } end
return { '', entries[#entries][1] }
