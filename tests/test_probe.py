"""The probes of `lotus-guard check`: answered by the guard itself, and for nobody else."""

import time

from pytest_twisted import ensureDeferred

from lotus_guard.core.probe import FIELD, HEADER, sign_probe
from lotus_guard.sandbox.stack import SECRET
from tests.world import World


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
