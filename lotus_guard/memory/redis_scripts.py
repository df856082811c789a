"""What several guards share in Redis: names of keys, the scripts, and where Redis is.

Below a prefix of the operator's choice (`lotus_guard:`):

    seats:<room>       hash: v = <lineage>:<n>:<writer>, d = the table as JSON (core.seats_json)
    leader, term       who runs the live loop, `<instance>:<term>`, for some seconds; how often it
                       has changed
    aliases            hash: alias -> [room, slot, grounds]
    users:<alias>      hash: identity -> user
    policies           hash: room -> [header, body] of Synapse's last push for it
    decisions:<kind>:<rule>   stream of decisions (core.decision) as JSON
    alive              written to see whether Redis takes anything at all
    news               channel: what one guard has just learnt or heard, for the others

A *version* names one writing of a table. Tables of one lineage follow each other; another lineage
means that Redis has lost the table and a guard has written its own again.

Each script runs on the Redis server in one piece, so that no other guard can come in between.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from attrs import field, frozen

PREFIX = "lotus_guard:"
PORT = 6379
RENEW_SECONDS = 1.0
"""How often the guard that runs the live loop says that it still does."""


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


@frozen
class Version:
    """Names one writing of a room's table; the empty lineage stands for none."""

    lineage: str = ""
    number: int = 0
    writer: str = ""

    def __str__(self) -> str:
        return f"{self.lineage}:{self.number}:{self.writer}" if self.lineage else ""

    def follows(self, other: "Version") -> bool:
        """Tell whether this was written on top of the other."""
        return self.lineage == other.lineage and self.number > other.number


def read_version(text: str) -> Version:
    """Read a version; raises ValueError for what is none."""
    if not text:
        return Version()
    lineage, number, writer = text.split(":")
    return Version(lineage, int(number), writer)


@frozen
class RedisAddress:
    """Where Redis is."""

    host: str
    port: int = PORT
    database: int = 0
    user: str = ""
    password: str = field(default="", repr=False)
    is_tls: bool = False
    ca: str = ""
    """File with the certificate of a private authority; empty: those of the system."""
    prefix: str = PREFIX

    def __str__(self) -> str:
        scheme = "rediss" if self.is_tls else "redis"
        return f"{scheme}://{self.host}:{self.port}/{self.database}"


_URL = re.compile(r"(?:rediss?|unix):|[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_SCHEMES = {
    "sentinel": "the guard does not ask Sentinel; name the master, or an address that follows it",
    "cluster": "the guard needs one Redis that has all keys, no cluster",
    "unix": "the guard reaches Redis by TCP only (in redis.conf: port 6379, bind 127.0.0.1)",
    "socket": "the guard reaches Redis by TCP only (in redis.conf: port 6379, bind 127.0.0.1)",
    "sqlite": "a SQLite file is named by its path alone",
    "file": "a SQLite file is named by its path alone",
}
"""What to say of other schemes than ours, by a word in them."""


def is_redis(text: str) -> bool:
    """Tell whether LOTUS_GUARD_STATE is meant for an address rather than a file."""
    return _URL.match(text) is not None


def read_redis_address(text: str, password: str = "") -> RedisAddress:
    """Read `redis://[user:password@]host[:port][/database][?prefix=...&ca=...]`.

    `password` counts where the address has none. Raises ValueError with a sentence that does not
    repeat the address, which may have a password in it.
    """
    scheme = text.partition(":")[0].lower()
    if scheme not in ("redis", "rediss"):
        known = next((said for word, said in _SCHEMES.items() if word in scheme), "")
        begins = f"it begins with {scheme[:30]}://"
        raise ValueError(f"{begins}, but {known}" if known else f"{begins}, which names no Redis")
    try:
        parts = urlsplit(text)
        port = parts.port or PORT
    except ValueError:
        raise ValueError("its host or port is none") from None
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if not parts.hostname:
        raise ValueError("it has no host")
    database = parts.path.strip("/") or "0"
    if not database.isdecimal() or int(database) > 65535:
        raise ValueError("it has no number of a database behind the host")
    unknown = ", ".join(sorted(set(options) - {"prefix", "ca"}))
    if unknown or parts.fragment:
        raise ValueError(f"it has options that are not known: {unknown or '#'}")
    if "ca" in options and parts.scheme != "rediss":
        raise ValueError("its ca= is for rediss://, which is redis:// over TLS")
    return RedisAddress(
        parts.hostname,
        port,
        int(database),
        unquote(parts.username or ""),
        unquote(parts.password or "") or password,
        parts.scheme == "rediss",
        options.get("ca", ""),
        options.get("prefix", PREFIX),
    )


def string(mapping: Mapping[str, Any], name: str) -> str:
    """Give a text field of a message; empty for what is none."""
    value = mapping.get(name)
    return value if isinstance(value, str) else ""
