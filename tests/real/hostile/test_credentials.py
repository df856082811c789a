"""Credentials that are renewed while the guard runs open no call, and SIGHUP ends nobody."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define

from lotus_guard.sandbox.stack import TWO
from tests.events import LIMIT_EVENT
from tests.real.conftest import require_real
from tests.real.homeserver import User
from tests.real.processes import Process, until
from tests.real.redis import ROOT as REDIS_ROOT
from tests.real.redis import redis_server
from tests.real.sfu import KEY, SECRET
from tests.real.stack import NO_VIDEO, Stack, running_stack
from tests.real.test_several import Guards, children, pause, threaded
from tests.world import World

NEW_SECRET = "another-secret-for-tests-of-32-bytes-or-more"


def put(path: Path, text: str) -> None:
    """Write a file as careful programs do: in one step, for whoever reads it."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text + "\n")
    fresh.replace(path)


@define(eq=False)
class Renewing:
    """A stack whose guard has its credentials in files."""

    stack: Stack
    token: Path
    keys: Path

    def fail_opens(self) -> dict[str, float]:
        metrics = self.stack.guard.metrics()
        return {n: v for n, v in metrics.items() if n.startswith("lotus_guard_fail_open_total")}

    def log_in(self) -> User:
        synapse = self.stack.synapse
        who = {"type": "m.id.user", "user": "admin"}
        wanted = {"type": "m.login.password", "identifier": who, "password": "password"}
        answer = synapse.call("POST", "/_matrix/client/v3/login", content=wanted)
        assert answer.status == 200, answer.body
        return User(synapse.admin.user_id, answer.json()["access_token"])


@pytest.fixture(scope="module")
def renewing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Renewing]:
    require_real()
    directory = tmp_path_factory.mktemp("renewing")
    token, keys = directory / "token", directory / "keys"
    settings: dict[str, Any] = {
        "LOTUS_GUARD_SYNAPSE_TOKEN_FROM_FILE": str(token),
        "LIVEKIT_KEY_FILE": str(keys),
        # Each verdict asks Synapse anew, and none rests on what was known from before.
        "LOTUS_GUARD_POLICY_MAX_AGE": "0",
        "LOTUS_GUARD_POLICY_STALE": "0",
    }
    with running_stack(directory, guarded=False, **settings) as stack:
        put(token, stack.synapse.admin.access_token)
        put(keys, f"{KEY}: {SECRET}")
        stack.guard.process.start()
        yield Renewing(stack, token, keys)


def test_a_renewed_admin_token_opens_no_call(renewing: Renewing) -> None:
    stack = renewing.stack
    alice, bob = stack.users(2)
    room = stack.room(limit={"max_users": 1})
    assert stack.ask(alice, room).status == 200
    old, new = stack.synapse.admin, renewing.log_in()
    put(renewing.token, new.access_token)
    gone = stack.synapse.call("POST", "/_matrix/client/v3/logout", old.access_token, {})
    assert gone.status == 200
    statuses = [stack.ask(bob, room).status for _ in range(20)]
    stack.synapse.admin = new
    assert statuses == [403] * 20
    assert renewing.fail_opens() == {}
    text = stack.guard.process.text()
    assert old.access_token not in text
    assert new.access_token not in text


def test_a_token_that_is_renewed_late_opens_no_longer_than_that(renewing: Renewing) -> None:
    """Nobody can do without it; with the new one in the file all is as before at once."""
    stack = renewing.stack
    alice, bob, carol = stack.users(3)
    room = stack.room(limit={"max_users": 1})
    assert stack.ask(alice, room).status == 200
    old, new = stack.synapse.admin, renewing.log_in()
    assert (
        stack.synapse.call("POST", "/_matrix/client/v3/logout", old.access_token, {}).status == 200
    )
    until("it is refused", lambda: stack.ask(bob, room).status == 200)
    put(renewing.token, new.access_token)
    stack.synapse.admin = new
    time.sleep(2.5)  # where Synapse was given up: its next question, which is at most 2 s away
    assert [stack.ask(carol, room).status for _ in range(5)] == [403] * 5
    print(f"\nfail-opens while nobody had a valid token: {renewing.fail_opens()}")


def test_a_new_secret_opens_no_call_whoever_has_it_first(renewing: Renewing) -> None:
    stack = renewing.stack
    opened = renewing.fail_opens()
    put(renewing.keys, f"{KEY}: {NEW_SECRET}")
    os.kill(stack.guard.process.pid, signal.SIGHUP)
    until("it is read", lambda: "Reloaded LIVEKIT_KEY_FILE" in stack.guard.process.text())
    _holds(stack)  # LiveKit and lk-jwt-service have the old one still
    config = stack.livekit.directory / "livekit.yaml"
    fields = json.loads(config.read_text())
    config.write_text(json.dumps({**fields, "keys": {KEY: NEW_SECRET}}))
    for process in (stack.upstream, stack.livekit.process):
        process.stop()
    stack.upstream.env = {**stack.upstream.env, "LIVEKIT_SECRET": NEW_SECRET}
    for process in (stack.livekit.process, stack.upstream):
        process.start()
    _holds(stack)
    assert renewing.fail_opens() == opened
    text = stack.guard.process.text()
    assert SECRET not in text
    assert NEW_SECRET not in text


def test_the_module_has_its_secret_renewed_when_it_is_refused(tmp_path: Path) -> None:
    require_real()
    secret = tmp_path / "push-secret"
    settings: dict[str, Any] = {"LOTUS_GUARD_PUSH_SECRET_FROM_FILE": str(secret)}
    with running_stack(tmp_path, modules=True, **settings) as stack:

        def pushes_come() -> bool:
            return "lotus_guard_push_age_seconds" in stack.guard.metrics()

        until("pushes come", pushes_come)
        put(secret, "another-push-secret-for-tests-0123")
        stack.guard.process.stop()
        stack.guard.process.start()  # a new one: it has never known the old secret
        assert not pushes_come()
        (alice,) = stack.users(1)
        begun = time.monotonic()
        room = stack.room(limit={"max_users": 5})
        until("pushes come again", pushes_come)
        print(f"\na new push secret: taken after {time.monotonic() - begun:.1f} s")
        assert stack.ask(alice, room).status == 200


def _holds(stack: Stack) -> None:
    """Both rules hold, and the SFU takes what the guard has signed."""
    alice, bob = stack.users(2)
    room = stack.room(limit={"max_users": 1}, quality=NO_VIDEO)
    newcomer = stack.join(alice, room)
    assert newcomer.publish("video", "camera").get("refused")
    assert stack.ask(bob, room).status == 403
    newcomer.disconnect()


# --- several workers, and Redis ------------------------------------------------------------------


def speak(redis: Process, password: str, *words: str) -> str:
    """Say something to Redis as its operator."""
    done = subprocess.run(
        [str(REDIS_ROOT / "bin" / "redis-cli"), "-p", str(redis.port), *words],
        env={"REDISCLI_AUTH": password, "LD_LIBRARY_PATH": redis.env["LD_LIBRARY_PATH"]},
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    return done.stdout


@pytest_twisted.ensureDeferred
async def test_workers_take_up_new_credentials_at_a_sighup(world: World, tmp_path: Path) -> None:
    secret = tmp_path / "redis-password"
    put(secret, "the-first-password")
    redis = redis_server(tmp_path, "--requirepass", "the-first-password")
    redis.start()
    token = tmp_path / "token"
    put(token, world.sandbox.environment()["LOTUS_GUARD_SYNAPSE_TOKEN"])
    guards = Guards(world, redis)
    homeserver = world.sandbox.homeserver
    homeserver.set_state(TWO, LIMIT_EVENT, {"max_users": 1})
    try:
        process = await threaded(
            lambda: guards.add(
                LOTUS_GUARD_WORKERS="2",
                LOTUS_GUARD_REDIS_PASSWORD_FROM_FILE=str(secret),
                LOTUS_GUARD_SYNAPSE_TOKEN_FROM_FILE=str(token),
                LOTUS_GUARD_POLICY_MAX_AGE="0",
                LOTUS_GUARD_POLICY_STALE="0",
                LOTUS_GUARD_DEADLINE="5",
            )
        )
        await said(process, "2 workers are ready")
        workers = children(process.pid)
        assert (await world.ask("alice", TWO, base=guards.url(0))).status == 200
        # Both change hands at once, and all connections to Redis are cut.
        account = homeserver.accounts.pop(token.read_text().strip())
        account.access_token = "renewed-token"
        homeserver.accounts["renewed-token"] = account
        put(token, "renewed-token")
        put(secret, "the-second-password")
        os.kill(process.pid, signal.SIGHUP)
        await said(process, "Reloaded LOTUS_GUARD_SYNAPSE_TOKEN_FROM_FILE", 2)
        await threaded(
            lambda: speak(
                redis, "the-first-password", "CONFIG", "SET", "requirepass", "the-second-password"
            )
        )
        await threaded(
            lambda: speak(redis, "the-second-password", "CLIENT", "KILL", "SKIPME", "yes")
        )
        await pause(2.0)
        statuses = [(await world.ask("bob", TWO, base=guards.url(0))).status for _ in range(20)]
        assert statuses == [403] * 20
        assert children(process.pid) == workers, "no worker was replaced"
        text = process.text()
        assert "Redis rejected" not in text
        for word in ("the-first-password", "the-second-password", "renewed-token"):
            assert word not in text
    finally:
        await threaded(guards.stop)


async def said(process: Process, text: str, times: int = 1) -> None:
    for _ in range(200):
        if process.text().count(text) >= times:
            return
        await pause(0.1)
    raise AssertionError(process.text()[-3000:])
