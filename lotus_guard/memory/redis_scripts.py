"""The scripts that run on the Redis server, each in one piece: no other guard comes in between."""

from attrs import field, frozen


@frozen
class Script:
    """A script that runs on the Redis server."""

    name: str
    lua: str = field(repr=False)


REPLACE = Script(
    "replace",
    """
-- KEYS: seats:<room>. ARGV: the version it was made from, the new one ('': only look), the table,
-- milliseconds to keep it. Gives nothing where that was the version, else the one that is there.
local there = redis.call('HMGET', KEYS[1], 'v', 'd')
local version = there[1] or ''
if version ~= ARGV[1] then
  return {version, there[2] or ''}
end
if ARGV[2] ~= '' then
  redis.call('HSET', KEYS[1], 'v', ARGV[2], 'd', ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return {}
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
