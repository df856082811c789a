"""The probes of `lotus-guard check`: answered by the guard itself, and for nobody else."""

import time

import pytest
from pytest_twisted import ensureDeferred

from lotus_guard.core.probe import FIELD, HEADER, WINDOW, is_genuine, sign_probe
from lotus_guard.sandbox.stack import SECRET
from tests.world import World


@pytest.mark.parametrize("value", ["", ".", "1.2", "x.y", "\udcff.\udcff", "1" * 5000 + ".a"])
def test_what_nobody_signed_is_no_probe(value: str) -> None:
    assert not is_genuine(value, SECRET, 1000.0)


def test_a_probe_is_genuine_for_a_while_and_with_the_secret_only() -> None:
    value = sign_probe(SECRET, 1000.0)
    assert is_genuine(value, SECRET, 1000.0 + WINDOW)
    assert not is_genuine(value, SECRET, 1001.0 + WINDOW)
    assert not is_genuine(value, SECRET + "x", 1000.0)


@ensureDeferred
async def test_the_guard_says_what_arrived(world: World) -> None:
    world.start_guard()
    headers = {HEADER: sign_probe(SECRET, time.time()), "X-Forwarded-For": "x, [2001:db8::1]:80"}
    got = await world.request("POST", "/prefix//get_token?x=1", b"{}", headers)
    assert got.status == 200
    assert got.json() == {
        FIELD: {
            "method": "POST",
            "target": "/prefix//get_token?x=1",
            "client": "2001:db8::/64",
            "crowd": False,
            "peer": "127.0.0.1",
            "real": [],
            "forwarded": ["unclear", "2001:db8::1"],
        }
    }
    assert got.headers["Access-Control-Allow-Origin"] == "*"


@ensureDeferred
async def test_a_forged_probe_goes_to_upstream(world: World) -> None:
    world.start_guard()
    headers = {HEADER: sign_probe("another secret", time.time())}
    got = await world.request("GET", "/healthz", headers=headers)
    assert (got.status, got.body) == (200, b"")
