"""The scripts that run on the Redis server, each in one piece: no other guard comes in between."""

import hashlib

from attrs import field, frozen


@frozen
class Script:
    """A script that runs on the Redis server."""

    name: str
    lua: str = field(repr=False)
    digest: bytes = field(init=False, repr=False)
    """How Redis knows it once it has had it."""

    def __attrs_post_init__(self) -> None:
        digest = hashlib.sha1(self.lua.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "digest", digest.encode())


CHANGE = Script(
    "change",
    """
-- KEYS: table:<room>, seats:<room>. ARGV: the version it was made from, the new one ('': only
-- look), how many people may have been seated since (-1: nothing may have changed), how many it
-- seats itself (-1: it does more than that), the change, the whole table ('': not now),
-- milliseconds to keep it.
-- Gives 1, the version that it is now, '', and the changes of others since; where it cannot be made
-- 0, the version, '' and these changes, or where they are not kept the table and all since that.
-- The second key is where a release before kept the table; it is taken over from there.
local function number(version) return tonumber(string.match(version, ':(%d+):')) end
local function changes(from, to)
  local names = {}
  for each = from, to do names[#names + 1] = each end
  return #names > 0 and redis.call('HMGET', KEYS[1], unpack(names)) or {}
end
local there, missed = redis.call('HGET', KEYS[1], 'v'), {}
if not there then
  local old = redis.call('HMGET', KEYS[2], 'v', 'd')
  local at = old[1] and old[2] and number(old[1])
  there = at and old[1] or ''
  if at then
    local mark = there .. ' -1 {}'
    redis.call('HSET', KEYS[1], 'v', there, at, mark, 'd', old[2], 'b', at, 'o', at)
    redis.call('PEXPIRE', KEYS[1], ARGV[7])
  end
end
if there ~= ARGV[1] then
  local from, to = number(ARGV[1]), number(there)
  local mark = from and redis.call('HGET', KEYS[1], from) or ''
  local starts = ARGV[1] .. ' '
  if not to or string.sub(mark, 1, #starts) ~= starts or to - from > 1000 then
    local base = tonumber(redis.call('HGET', KEYS[1], 'b') or '')
    local since = to and base and changes(base + 1, to) or {}
    return {0, there, redis.call('HGET', KEYS[1], 'd') or '', unpack(since)}
  end
  missed = changes(from + 1, to)
  local seated = 0
  for _, each in ipairs(missed) do
    local seats = tonumber(each and string.match(each, '^%S+ (%-?%d+) ') or -1)
    seated = seats < 0 and math.huge or seated + seats
  end
  if seated > tonumber(ARGV[3]) then return {0, there, '', unpack(missed)} end
end
if ARGV[2] == '' then return {1, there, '', unpack(missed)} end
local lineage, count, writer = string.match(ARGV[2], '^([^:]*):(%d+):(.*)$')
count = tonumber(count) + #missed
there = lineage .. ':' .. count .. ':' .. writer
if count == 1 then redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], 'v', there, count, there .. ' ' .. ARGV[4] .. ' ' .. ARGV[5])
if ARGV[6] ~= '' then
  local base = tonumber(redis.call('HGET', KEYS[1], 'b') or count)
  for each = tonumber(redis.call('HGET', KEYS[1], 'o') or base), base - 1 do
    redis.call('HDEL', KEYS[1], each)
  end
  redis.call('HSET', KEYS[1], 'd', ARGV[6], 'b', count, 'o', base)
end
redis.call('PEXPIRE', KEYS[1], ARGV[7])
return {1, there, '', unpack(missed)}
""",
)
LEAD = Script(
    "lead",
    """
-- KEYS: leader, term. ARGV: instance, milliseconds. Gives the term where the instance leads from
-- now on or still, 0 where another does.
local holder = redis.call('GET', KEYS[1])
local mine = ARGV[1] .. ':'
if not holder then
  local term = redis.call('INCR', KEYS[2])
  redis.call('SET', KEYS[1], mine .. term, 'PX', ARGV[2])
  return term
end
if string.sub(holder, 1, #mine) ~= mine then
  return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return tonumber(string.sub(holder, #mine + 1))
""",
)
STEP_DOWN = Script(
    "step_down",
    """
-- KEYS: leader. ARGV: instance.
local mine = ARGV[1] .. ':'
local holder = redis.call('GET', KEYS[1])
if holder and string.sub(holder, 1, #mine) == mine then
  redis.call('DEL', KEYS[1])
end
return 0
""",
)
BIND = Script(
    "bind",
    """
-- KEYS: aliases. ARGV: alias, its place as JSON, whether that is a proof (1). Gives the place
-- that holds.
local there = redis.call('HGET', KEYS[1], ARGV[1])
if there and (ARGV[3] ~= '1' or string.find(there, '"proof"', 1, true)) then
  return there
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return ARGV[2]
""",
)
NAME = Script(
    "name",
    """
-- KEYS: users:<alias>, the channel of news. ARGV: identity, user, milliseconds to keep it, news.
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PUBLISH', KEYS[2], ARGV[4])
return 0
""",
)
CLAIM = Script(
    "claim",
    """
-- KEYS: claims:<alias>. ARGV: identity, the claim that it was made from ('': none), the new one,
-- milliseconds to keep it. Gives nothing where that was the claim, else the one that is there.
local there = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if there ~= ARGV[2] then
  return {there}
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {}
""",
)
