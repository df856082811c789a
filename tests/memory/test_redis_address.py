"""Where Redis is: what an address says, and a sentence for any other."""

import pytest

from lotus_guard.memory.redis_address import is_redis, read_redis_address
from lotus_guard.run.config import read_config
from lotus_guard.run.setting import Faulty
from tests.test_docs import GOOD


def test_an_address_says_where_redis_is() -> None:
    address = read_redis_address("rediss://me:p%40ss@redis.example:6380/3?prefix=x:&ca=/c.pem")
    assert (address.host, address.port, address.database) == ("redis.example", 6380, 3)
    assert (address.user, address.password, address.prefix) == ("me", "p@ss", "x:")
    assert (address.is_tls, address.ca) == (True, "/c.pem")
    for shown in (repr(address), str(address)):
        assert "p@ss" not in shown
    assert read_redis_address("redis://localhost", "other").password == "other"
    assert is_redis("redis://h")
    assert not is_redis("/var/lib/state.sqlite")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("redis-sentinel://:secret@h:26379,i:26379/mymaster", "does not support Sentinel"),
        ("redis+sentinel://h/mymaster", "does not support Sentinel"),
        ("redis+unix:///run/redis.sock", "by TCP only"),
        ("unix:///run/redis.sock", "by TCP only"),
        ("unix:/run/redis.sock", "by TCP only"),
        ("redis+socket://:secret@/run/redis.sock", "by TCP only"),
        ("rediss+cluster://h", "not a cluster"),
        ("sqlite:///var/lib/state.sqlite", "by its path alone"),
        ("file:///var/lib/state.sqlite", "by its path alone"),
        ("memcached://h", "is not a Redis address"),
        ("redis://:secret@h:6379,i:6379", "host or port"),
        ("REDIS-SENTINEL://h", "does not support Sentinel"),
    ],
)
def test_another_kind_of_address_gets_a_sentence(address: str, words: str) -> None:
    with pytest.raises(Faulty) as raised:
        read_config({**GOOD, "LOTUS_GUARD_STATE": address})
    (line,) = raised.value.faults
    assert line.startswith("LOTUS_GUARD_STATE: it")
    assert words in line
    assert "redis://[user:password@]host" in line
    assert "secret" not in line


def test_a_scheme_in_capitals_is_the_same() -> None:
    assert read_redis_address("REDISS://H").is_tls


def test_an_odd_address_is_refused_without_showing_it() -> None:
    for odd in (
        "redis://",
        "redis://:secret@",
        "redis://:secret@h:port",
        "redis://:secret@h/zero",
        "redis://:secret@h?colour=red",
        "redis://:secret@h?ca=/c.pem",
    ):
        with pytest.raises(ValueError, match=r"^(its?|ca=) ") as raised:
            read_redis_address(odd)
        assert "secret" not in str(raised.value)
