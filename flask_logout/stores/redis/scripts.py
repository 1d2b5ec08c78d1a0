"""The scripts that write revocations, in Lua."""

from __future__ import annotations

# Compare and set. If the stored values are still those that the caller has seen, write
# all revocations. Otherwise write none, and return the stored values. Write to the stream
# first, because only that can fail.
KEEP = """
local current, fields = {}, {}
local is_as_seen = true
for i = 1, #KEYS - 1 do
    current[i] = redis.call('GET', KEYS[i]) or ''
    is_as_seen = is_as_seen and current[i] == ARGV[3 * i - 1]
    -- Readers know a key that exists already, from the stream or from their scan.
    if current[i] == '' then
        fields[#fields + 1] = string.sub(KEYS[i], -16)
        fields[#fields + 1] = ''
    end
end
if not is_as_seen then return current end
local time = redis.call('TIME')
local first = string.format('%.0f', time[1] * 1000 - ARGV[1])
if #fields > 0 and redis.call('EXISTS', KEYS[#KEYS]) == 0 then
    -- While this entry exists, a reader that has read no other has missed nothing.
    redis.call('XADD', KEYS[#KEYS], '0-1', '', '')
end
for i = 1, #fields, 2000 do
    -- unpack() is limited to a few thousand values per call.
    redis.call('XADD', KEYS[#KEYS], 'MINID', '~', first, '*',
        unpack(fields, i, math.min(i + 1999, #fields)))
end
local now = time[1] .. string.format('%06d', time[2])
for i = 1, #KEYS - 1 do
    redis.call('SET', KEYS[i], now .. ARGV[3 * i])
    if ARGV[3 * i + 1] ~= '' then
        redis.call('PEXPIREAT', KEYS[i], ARGV[3 * i + 1])
    end
end
return false
"""

# The last key and the last argument belong to this part.
KEEP_OWNED = f"""
local row, owner = table.remove(KEYS), table.remove(ARGV)
if redis.call('HGET', row, 'subject_key') ~= owner then return 0 end
{KEEP}"""
