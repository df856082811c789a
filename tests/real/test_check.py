"""`lotus-guard check` as a process: on a stack that works, and broken in six ways."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve
from pytest_twisted import ensureDeferred
from twisted.internet import reactor as _reactor
from twisted.internet.threads import deferToThread

from lotus_guard.check.addresses import own_addresses
from lotus_guard.check.context import CheckContext, CheckOptions, clients_over
from lotus_guard.check.finding import Finding, Level
from lotus_guard.check.upstream_version import RUST
from lotus_guard.check.webhooks import check_webhooks
from lotus_guard.neighbours.agents import pooled_agents
from lotus_guard.overload.http_limits import BoundedRequest, QuietSite
from lotus_guard.run.clocks import clocks_of
from lotus_guard.run.config import read_config
from tests.check.checked_stack import OperatorsPort
from tests.real.conftest import require_real
from tests.real.homeserver import User
from tests.real.processes import ROOT, free_port, http, until
from tests.real.sfu import KEY, SECRET, LiveKit
from tests.real.stack import Stack, running_stack

reactor: Any = _reactor
OTHER = "another-secret-for-tests-of-32-bytes-or-more"


@define(eq=False)
class Wired:
    """A real stack with the module and webhooks, its guard's environment, and a user."""

    stack: Stack
    user: User

    @property
    def environment(self) -> dict[str, str]:
        return dict(self.stack.guard.process.env)

    @property
    def livekit_yaml(self) -> Path:
        return self.stack.livekit.directory / "livekit.yaml"

    def check(self, *arguments: str, **changed: str) -> tuple[int, dict[str, dict[str, str]]]:
        """Run the command; prints what is wrong, gives its exit code and the findings by name."""
        env = {**os.environ, **self.environment, "PYTHONPATH": str(ROOT), **changed}
        command = [sys.executable, "-m", "lotus_guard.cli", "check", *arguments]
        more = ["--livekit-config", str(self.livekit_yaml), "--public-url", self.stack.guard.url]
        begun = time.monotonic()
        done = subprocess.run(
            [*command, *more, "--json"],
            cwd=self.stack.directory,
            env={**env, "CHECK_USER_TOKEN": self.user.access_token},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        seconds = time.monotonic() - begun
        assert done.stdout, done.stderr
        for secret in (SECRET, self.user.access_token, self.stack.synapse.admin.access_token):
            assert secret not in done.stdout + done.stderr
        findings = {each["name"]: each for each in json.loads(done.stdout)["findings"]}
        print(f"  exits with {done.returncode} after {seconds:.1f} s")
        for each in findings.values():
            if each["level"] in ("warning", "fault"):
                print(f"  {each['level']} {each['name']}: {each['seen']}")
                print(f"      change: {each['wanted']}")
        return done.returncode, findings


@pytest.fixture(scope="module")
def wired(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wired]:
    require_real()
    # There is no proxy here, so nobody's word counts for who a client is.
    nobody = "192.0.2.1"
    with running_stack(
        tmp_path_factory.mktemp("check"),
        modules=True,
        generation=RUST,  # the older one is a warning
        LOTUS_GUARD_TRUSTED_PROXIES=nobody,
    ) as stack:
        yield Wired(stack, stack.synapse.register())


def bad(findings: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """What is wrong."""
    return {
        name: each["level"]
        for name, each in findings.items()
        if each["level"] in ("warning", "fault")
    }


def test_a_stack_that_works(wired: Wired) -> None:
    print("\nA stack that works:")
    room = wired.stack.room()
    wired.stack.synapse.set_state(wired.stack.synapse.admin, room, "io.lotus.x", {})
    code, findings = wired.check()
    for each in findings.values():
        print(f"  {each['level']:<8} {each['name']:<22} {each['seen']}")
    assert bad(findings) == {}
    assert code <= 1
    assert findings["synapse-filter"]["level"] == "ok"
    assert findings["auto-create"]["level"] == "ok"
    assert findings["upstream-key"]["level"] == "ok"
    assert findings["clocks"]["level"] == "ok"
    assert not [name for name in wired.stack.livekit.rooms() if "check" in name]
    assert wired.stack.livekit.rooms() == set(), "the room that upstream made is gone"


def test_1_upstream_is_down(wired: Wired) -> None:
    print("\n1. lk-jwt-service is stopped:")
    wired.stack.upstream.stop()
    try:
        code, findings = wired.check()
    finally:
        wired.stack.upstream.start()
        # The guard learns by its next request that upstream is back.
        health = f"{wired.stack.guard.url}/healthz"
        until("upstream is back", lambda: http("GET", health).status == 200)
    found = bad(findings)
    # What the check has asked for at the public address, the guard may have noticed as well.
    if found.pop("operators-port", "warning") != "warning":
        raise AssertionError(findings["operators-port"])
    if "operators-port" in bad(findings):
        assert "lk-jwt-service" in findings["operators-port"]["seen"]
    assert (code, found) == (2, {"upstream": "fault"})


def check_another_upstream(wired: Wired, **changed: str) -> tuple[int, dict[str, str]]:
    """Check with the same service as upstream's, somewhere else; returns what is wrong."""
    port = free_port()
    upstream = wired.stack.upstream
    env = {**upstream.env, "LIVEKIT_JWT_BIND": f"127.0.0.1:{port}", **changed}
    if "LIVEKIT_JWT_BIND" in changed:
        port = int(changed["LIVEKIT_JWT_BIND"].rpartition(":")[2])
    other = evolve(upstream, name="another", port=port, env=env, popen=None)
    other.start()
    try:
        code, findings = wired.check(LOTUS_GUARD_UPSTREAM=f"http://127.0.0.1:{port}")
    finally:
        other.stop()
    return code, bad(findings)


def test_2_upstream_signs_with_another_secret(wired: Wired) -> None:
    print("\n2. lk-jwt-service has another secret (LiveKit refuses it as well):")
    found = check_another_upstream(wired, LIVEKIT_SECRET=OTHER)
    assert found == (2, {"upstream-key": "fault"})


def test_3_upstream_can_be_reached_from_outside(wired: Wired) -> None:
    print("\n3. lk-jwt-service listens on every address:")
    if not own_addresses():
        pytest.skip("this machine has only its loopback address")
    found = check_another_upstream(wired, LIVEKIT_JWT_BIND=f":{free_port()}")
    assert found == (2, {"upstream-exposed": "fault"})


def test_4_the_token_is_no_admins(wired: Wired) -> None:
    print("\n4. The admin's token is an ordinary user's:")
    code, findings = wired.check(LOTUS_GUARD_SYNAPSE_TOKEN=wired.user.access_token)
    assert (code, bad(findings)) == (2, {"synapse-token": "fault"})


def test_5_livekit_makes_rooms_for_anybody(wired: Wired, tmp_path: Path) -> None:
    print("\n5. room.auto_create is left on:")
    livekit = AutoCreating(tmp_path)
    livekit.start()
    try:
        code, findings = wired.check(LOTUS_GUARD_LIVEKIT_URL=livekit.api)
        assert livekit.rooms() == set(), "asking makes nothing"
    finally:
        livekit.process.stop()
    found = bad(findings)
    found.pop("webhooks", None)  # this one's are wired nowhere
    assert (code, found) == (1, {"auto-create": "warning"})


class AutoCreating(LiveKit):
    """A LiveKit as it comes."""

    def _config(self) -> dict[str, Any]:
        return {**super()._config(), "room": {}}


def test_6_livekits_address_is_something_elses(wired: Wired) -> None:
    print("\n6. LIVEKIT_URL leads to a server that does not route /twirp:")
    address = wired.stack.synapse.url.replace("http://", "ws://")
    code, findings = wired.check(LOTUS_GUARD_LIVEKIT_URL=address)
    assert (code, bad(findings)) == (2, {"livekit": "fault"})


@pytest.mark.parametrize(("secret", "level"), [(SECRET, Level.OK), (OTHER, Level.FAULT)])
@ensureDeferred
async def test_livekit_tells_of_a_room_that_is_made(
    tmp_path: Path, secret: str, level: Level
) -> None:
    """Real webhooks, to an operators' port whose guard has this secret."""
    require_real()
    port = OperatorsPort(KEY, secret)
    site = QuietSite(port.app.resource(), requestFactory=BoundedRequest)
    listening = reactor.listenTCP(0, site, interface="127.0.0.1")
    admin = listening.getHost().port
    livekit = LiveKit(tmp_path, [f"http://127.0.0.1:{admin}/webhook"])
    await deferToThread(livekit.start)
    agents = pooled_agents(reactor)
    try:
        begun = time.monotonic()
        found = await _checked(livekit, admin, agents)
        seconds = time.monotonic() - begun
        assert await deferToThread(livekit.rooms) == set()
    finally:
        await deferToThread(livekit.process.stop)
        await agents.close()
        await listening.stopListening()
    print(f"\nroom_started: {found.level} after {seconds * 1000:.0f} ms: {found.seen}")
    assert found.level is level
    assert port.genuine + port.forged >= 1


async def _checked(livekit: LiveKit, admin: int, agents: Any) -> Finding:
    config = read_config(
        {
            "LIVEKIT_URL": livekit.url,
            "LIVEKIT_KEY": KEY,
            "LIVEKIT_SECRET": SECRET,
            "LOTUS_GUARD_ADMIN_LISTEN": f"tcp:{admin}:interface=127.0.0.1",
            "LOTUS_GUARD_SYNAPSE_URL": "http://127.0.0.1:8008",
            "LOTUS_GUARD_SYNAPSE_TOKEN": "none",
        }
    )
    context = CheckContext(
        config=config,
        http=clients_over(agents, reactor),
        clocks=clocks_of(reactor),
        options=CheckOptions(),
        new_name=lambda: "real",
    )
    (found,) = await check_webhooks(context)
    return found
