"""The scripts that store, rotate and list sessions, in Lua.

Each reads the clock of Redis. Times are in microseconds since 1970, which Lua's numbers
represent exactly until the year 2255. An empty argument stands for ``None``.
"""

from __future__ import annotations

_CLOCK = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local stamp = string.format('%.0f', now)
"""

# KEYS: the session, and the sorted set of the user's sessions.
# ARGV: when both may be deleted in milliseconds, when the login began, ...
_KEEP = """
local function set_expiry(name)
    if ARGV[1] == '' then
        redis.call('PERSIST', name)
    else
        redis.call('PEXPIREAT', name, ARGV[1])
    end
end

-- The set is kept as long as the session that is kept longest.
local function keep_set(left)
    local is_longer = left >= 0
        and (ARGV[1] == '' or tonumber(ARGV[1]) > now / 1000 + left)
    if left == -2 or is_longer then set_expiry(KEYS[2]) end
end

local function insert(first, ...)
    redis.call('HSET', KEYS[1], 'last_seen_at', stamp, unpack(ARGV, first))
    if ... then redis.call('HSET', KEYS[1], ...) end
    set_expiry(KEYS[1])
    local left = redis.call('PTTL', KEYS[2])
    redis.call('ZADD', KEYS[2], ARGV[2], string.sub(KEYS[1], -16))
    keep_set(left)
    -- Remove the oldest sessions from the set if they have expired. In a Cluster, EXISTS
    -- fails while the slot is moved to another server.
    for _, key in ipairs(redis.call('ZRANGE', KEYS[2], 0, 3)) do
        if redis.pcall('EXISTS', string.sub(KEYS[1], 1, -17) .. key) == 0 then
            redis.call('ZREM', KEYS[2], key)
        end
    end
end
"""

# ARGV: ..., the fields of the session.
START = f"""{_CLOCK}{_KEEP}
if redis.call('EXISTS', KEYS[1]) == 0 then insert(3) end
"""

# KEYS: ..., the revocations that would cover the token, unless they have been read.
# ARGV: ..., the key of the user, the presented generation, the grace period, whether the
# generation before can be presented later, expires_at, kept_until, the fields of the
# session.
# Returns the outcome and the generation. If there is a revocation, changes nothing, and
# returns "revoked" and the values.
ROTATE = f"""{_CLOCK}{_KEEP}
local owner, presented, grace = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local may_be_late, expires_at, kept_until = ARGV[6] == '1', ARGV[7], ARGV[8]

if #KEYS > 2 then
    local values = redis.call('MGET', unpack(KEYS, 3))
    for _, value in ipairs(values) do
        if value then return {{'revoked', values}} end
    end
end

local old = redis.call('HMGET', KEYS[1],
    'subject_key', 'generation', 'parent', 'rotated_at', 'kept_until')
if not old[1] then
    insert(9, 'rotated_at', stamp)
    return {{'adopted', presented + 1}}
end
local generation, parent = tonumber(old[2]), old[3] and tonumber(old[3])
if old[1] ~= owner then return {{'refused', generation}} end

-- Redis' clock may be set back, so a grace period of 0 needs a condition of its own.
local is_young = grace > 0 and old[4] and now - tonumber(old[4]) < grace
local outcome
if is_young and (presented == generation or presented == parent) then
    outcome = 'repeated'
elseif presented >= generation then
    outcome, generation = 'rotated', presented + 1
elseif presented == parent and may_be_late then
    outcome, generation = 'replaced', generation + 1
else
    return {{'reuse', generation}}
end

local function set_field(name, value)
    if value == '' then
        redis.call('HDEL', KEYS[1], name)
    else
        redis.call('HSET', KEYS[1], name, value)
    end
end
if outcome ~= 'repeated' then
    redis.call('HSET', KEYS[1], 'generation', string.format('%.0f', generation),
        'parent', ARGV[4], 'rotated_at', stamp)
end
redis.call('HSET', KEYS[1], 'last_seen_at', stamp)
set_field('expires_at', expires_at)
if old[5] and (kept_until == '' or tonumber(kept_until) > tonumber(old[5])) then
    set_field('kept_until', kept_until)
    set_expiry(KEYS[1])
    keep_set(redis.call('PTTL', KEYS[2]))
end
return {{outcome, generation}}
"""

# KEYS: the session. ARGV: the grace period.
# Returns the user's key, the generation, its parent, and whether it is young.
FIND = f"""{_CLOCK}
local grace = tonumber(ARGV[1])
local found = redis.call('HMGET', KEYS[1],
    'subject_key', 'generation', 'parent', 'rotated_at')
if not found[1] then return false end
local is_young = grace > 0 and found[4] and now - tonumber(found[4]) < grace
return {{found[1], found[2], found[3], is_young and 1 or 0}}
"""

# KEYS: the sorted set of the user's sessions.
# ARGV: what precedes a key in the names of revocations, the current time, the largest
# number of sessions, the number of sessions after which the script stops, the score and
# the key of the last session that has been read, the other keys under which all sessions
# can be revoked.
# Returns pairs of a key and the fields of a session, the values of the revocations, and
# the score and the key of the last session that this script has read, if there are more.
LIST = """
local prefix, now, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local rest, last_score, last_key = tonumber(ARGV[4]), ARGV[5], ARGV[6]
local found, gone, revoked = {}, {}, {}

for i = 7, #ARGV do revoked[i - 6] = redis.call('GET', prefix .. ARGV[i]) end

-- Lua compares strings by the rules of the server's locale.
local function is_below(key, other)
    for i = 1, #key do
        local x, y = string.byte(key, i), string.byte(other, i)
        if x ~= y then return x < y end
    end
    return false
end

local function is_next(score, key)
    if last_score == '' or tonumber(score) < tonumber(last_score) then return true end
    return is_below(key, last_key)
end

local function read(key)
    local name = prefix .. 's' .. key
    local fields = redis.call('HMGET', name, 'any_issuer_key', 'expires_at')
    if not fields[1] then
        gone[#gone + 1] = key
    elseif not (fields[2] and tonumber(fields[2]) <= now)
        and redis.call('EXISTS', prefix .. key) == 0
        and redis.call('EXISTS', prefix .. fields[1]) == 0
    then
        found[#found + 1] = {key, redis.call('HGETALL', name)}
    end
end

local highest = last_score == '' and '+inf' or last_score
local offset, position = 0, false
repeat
    local batch = redis.call('ZREVRANGEBYSCORE', KEYS[1], highest, '-inf',
        'WITHSCORES', 'LIMIT', offset, 100)
    for i = 1, #batch, 2 do
        if not position and is_next(batch[i + 1], batch[i]) then
            read(batch[i])
            rest = rest - 1
            if #found == most or rest == 0 then position = {batch[i + 1], batch[i]} end
        end
    end
    offset = offset + 100
until position or #batch == 0

for _, key in ipairs(gone) do redis.call('ZREM', KEYS[1], key) end
return {found, revoked, position}
"""
