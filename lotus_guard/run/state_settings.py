"""The setting that says where the guard keeps what it remembers: a SQLite file, or a Redis."""

from pathlib import Path

from lotus_guard.enforce.credentials import read_text
from lotus_guard.memory.redis_address import RedisAddress, is_redis, read_redis_address
from lotus_guard.run.parsers import unusable
from lotus_guard.run.setting import OUR_PREFIX, Texts, Variable

STATE = Variable(
    f"{OUR_PREFIX}STATE",
    "",
    "where the guard keeps its memory: a SQLite file (default: lotus-guard.sqlite in "
    "$STATE_DIRECTORY), or for several guards redis://[user:password@]host[:port][/db]; rediss:// "
    "uses TLS",
)


def state_path(texts: Texts) -> Path:
    """Where the SQLite file is."""
    # systemd sets STATE_DIRECTORY to one or more paths with colons between them.
    base = Path(texts.get("STATE_DIRECTORY", "").split(":")[0])
    return base / (texts[STATE.name] or "lotus-guard.sqlite")


def redis_address(texts: Texts) -> RedisAddress | None:
    """The address of Redis; None where a file is meant."""
    text = texts[STATE.name]
    if not is_redis(text):
        return None
    try:
        address = read_redis_address(text)
    except ValueError as why:
        wanted = "a file name, or redis://[user:password@]host[:port][/database][?prefix=…]"
        raise unusable(STATE.name, str(why), wanted) from None
    if address.ca and not read_text(STATE.name, address.ca):
        raise unusable(STATE.name, f"{address.ca} is empty", "a certificate")
    return address
