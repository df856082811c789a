"""Where Redis is, as LOTUS_GUARD_STATE says it."""

import re
from urllib.parse import parse_qsl, unquote, urlsplit

from attrs import field, frozen

PREFIX = "lotus_guard:"
PORT = 6379


@frozen
class RedisAddress:
    """Where Redis is, and how we are let in."""

    host: str
    port: int = PORT
    database: int = 0
    user: str = ""
    password: str = field(default="", repr=False)
    is_tls: bool = False
    ca: str = ""
    """File with the certificate of a private authority; empty: those of the system."""
    prefix: str = PREFIX
    """With which the names of all our keys begin."""

    def __str__(self) -> str:
        scheme = "rediss" if self.is_tls else "redis"
        return f"{scheme}://{self.host}:{self.port}/{self.database}"


_URL = re.compile(r"(?:rediss?|unix):|[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_SCHEMES = {
    "sentinel": "the guard does not support Sentinel: name the master instead",
    "cluster": "the guard needs one Redis that has all keys, not a cluster",
    "unix": "the guard reaches Redis by TCP only (in redis.conf: port 6379, bind 127.0.0.1)",
    "socket": "the guard reaches Redis by TCP only (in redis.conf: port 6379, bind 127.0.0.1)",
    "sqlite": "a SQLite file is given by its path alone",
    "file": "a SQLite file is given by its path alone",
}
"""What to say of other schemes than ours, by a word in them."""


def is_redis(text: str) -> bool:
    """Whether LOTUS_GUARD_STATE is meant for an address rather than a file."""
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
        raise ValueError(
            f"{begins}, but {known}" if known else f"{begins}, which is not a Redis address"
        )
    try:
        parts = urlsplit(text)
        port = parts.port or PORT
    except ValueError:
        raise ValueError("its host or port is not valid") from None
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if not parts.hostname:
        raise ValueError("it has no host")
    database = parts.path.strip("/") or "0"
    if not database.isdecimal() or int(database) > 65535:
        raise ValueError("its path is not a database number")
    unknown = ", ".join(sorted(set(options) - {"prefix", "ca"}))
    if unknown or parts.fragment:
        raise ValueError(f"it has unknown options: {unknown or '#'}")
    if "ca" in options and parts.scheme != "rediss":
        raise ValueError("ca= works with rediss:// only (redis:// over TLS)")
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
