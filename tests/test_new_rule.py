"""A new rule takes one file: it is added to a list, and everything else follows from it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from click.testing import CliRunner
from twisted.internet.threads import deferToThread

from lotus_guard.commands.explain_words import lines_of
from lotus_guard.commands.policy import policy_group
from lotus_guard.core.model import RoomId
from lotus_guard.core.naming import livekit_room_of
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.observe.rooms import described
from lotus_guard.rules import RULES, Rules
from lotus_guard.rules.decision import Deed
from lotus_guard.rules.push import sign_push, write_push
from lotus_guard.sandbox.livekit_state import Source
from lotus_guard.sandbox.stack import ADMIN_TOKEN, OPEN, TWO, VOICE
from lotus_guard.sandbox.welcome import Entrances, welcome
from lotus_guard.web.landing import landing_page
from tests.calls import VIDEO, join
from tests.quiet_hours import QuietHours
from tests.saying import ENGLISH
from tests.world import World

ROOT = Path(__file__).resolve().parents[1]
QUIET = QuietHours()
MORE = (*RULES, QUIET)
ROOM = f"!{QUIET.trial.room}:sandbox"
SECRET = "a-push-secret-for-this-test"


@pytest.fixture
def rules() -> Rules:
    return MORE


@pytest_twisted.ensureDeferred
async def test_it_is_read_and_judged_on_the_token(world: World) -> None:
    world.start_guard()
    assert (await world.ask("alice", ROOM)).sources == ["microphone", "screen_share_audio"]
    assert (await world.ask("alice", OPEN)).sources is None
    (made,) = [each for each in world.guard.overview.decisions() if each["room"] == ROOM]
    assert (made["rule"], made["why"]) == ("quiet", "the room forbids camera, screen_share")


@pytest_twisted.ensureDeferred
async def test_what_several_rules_forbid_unites(world: World) -> None:
    world.start_guard()
    world.sandbox.homeserver.set_state(VOICE, QUIET.event, {"quiet": True})
    assert (await world.ask("alice", VOICE)).sources == ["microphone"]
    world.sandbox.homeserver.set_state(TWO, QUIET.event, {"quiet": True})
    got = [await world.ask(name, TWO) for name in ("alice", "bob", "carol")]
    assert [each.status for each in got] == [200, 200, 403]
    assert got[0].sources == ["microphone", "screen_share_audio"]


@pytest_twisted.ensureDeferred
async def test_it_is_pushed(world: World) -> None:
    world.start_guard(
        LOTUS_GUARD_PUSH_SECRET=SECRET,
        LOTUS_GUARD_POLICY_MAX_AGE="60",
        LOTUS_GUARD_POLICY_POLL="60",
    )
    assert (await world.ask("alice", OPEN)).sources is None
    body = write_push(RoomId(OPEN), {QUIET.event: {"quiet": True}}, MORE)
    signed = {"Lotus-Guard-Signature": sign_push(body, SECRET, time.time())}
    assert (await world.request("POST", "/policy", body, signed, world.operators)).status == 204
    assert (await world.ask("alice", OPEN)).sources == ["microphone", "screen_share_audio"]


@pytest_twisted.ensureDeferred
async def test_it_is_enforced_live(world: World) -> None:
    world.start_guard()
    alice = await join(world, "alice", OPEN)
    livekit_room = livekit_room_of(RoomId(OPEN), "m.call#ROOM")
    world.sandbox.sfu.publish(livekit_room, alice.identity, Source.CAMERA, VIDEO)
    assert len(alice.tracks) == 1
    world.sandbox.homeserver.set_state(OPEN, QUIET.event, {"quiet": True})
    await world.guard.live.run_pass()
    assert len(alice.tracks) == 0
    await world.guard.live.run_pass()
    (step,) = [each for each in world.guard.overview.decisions() if each["kind"] == "step"]
    assert step["rule"] == "quiet"
    world.sandbox.homeserver.set_state(OPEN, QUIET.event, {})
    await world.guard.live.run_pass()


@pytest_twisted.ensureDeferred
async def test_it_is_explained_and_replayed(world: World) -> None:
    world.start_guard()
    await world.ask("alice", ROOM)
    (made,) = [
        each for each in world.guard.overview.records.recent if each.ruling.deed is Deed.CHANGED
    ]
    lines = lines_of(made, MORE)
    assert "  rule    quiet" in lines
    assert lines[-1].startswith("  replay  the same: may publish microphone")


@pytest_twisted.ensureDeferred
async def test_it_fails_open_alone(world: World) -> None:
    """Its look-ups fail: the others hold, and only it is counted."""
    world.start_guard()
    policies = world.guard.live.candidates.policies.of("quiet").events
    policies.homeserver = policies.background = Broken(policies.homeserver)
    got = [await world.ask(name, TWO) for name in ("alice", "bob", "carol")]
    assert [each.status for each in got] == [200, 200, 403]
    assert (await world.ask("alice", VOICE)).sources == ["microphone"]
    assert (await world.ask("alice", ROOM)).sources is None
    assert {rule for rule, _ in world.fail_opens()} == {"quiet"}


class Broken:
    """A homeserver that is out."""

    def __init__(self, homeserver: Any) -> None:
        self.homeserver = homeserver

    async def policy(self, room: RoomId, rule: Any) -> Any:
        raise Outage(Reason.RESET, "made up")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.homeserver, name)


@pytest_twisted.ensureDeferred
async def test_the_outage_of_another_does_not_open_it(world: World) -> None:
    world.start_guard()
    policies = world.guard.live.candidates.policies.of("limit").events
    policies.homeserver = Broken(policies.homeserver)
    assert (await world.ask("alice", ROOM)).sources == ["microphone", "screen_share_audio"]
    assert {rule for rule, _ in world.fail_opens()} == {"limit"}


@pytest_twisted.ensureDeferred
async def test_it_can_be_observed_only(world: World) -> None:
    world.start_guard()
    public: Any = world.guard.public.door.behind
    public.exchange.admission.judge_rules.observed = frozenset({"quiet"})
    assert (await world.ask("alice", ROOM)).sources is None
    assert (await world.ask("alice", VOICE)).sources == ["microphone"]
    (made,) = [each for each in world.guard.overview.decisions() if each["room"] == ROOM]
    assert (made["rule"], made["observed"]) == ("quiet", True)


@pytest_twisted.ensureDeferred
async def test_rooms_and_the_status_page_show_it(world: World) -> None:
    world.start_guard()
    await join(world, "alice", ROOM)
    await world.guard.live.run_pass()
    (found,) = world.guard.overview.rooms.all()
    assert found["quiet"] is True
    assert found["policy"] == [described(QUIET, QUIET.read({"quiet": True}).policy)]
    assert found["policy"][0]["words"] == ["no video"]
    told = world.guard.overview.guard()
    assert told["rules"]["quiet"] == "enforce"
    assert told["titles"]["quiet"] == "Quiet hours"


COMMAND = """
from lotus_guard.commands.policy import policy_group
from lotus_guard.rules import RULES
from tests.quiet_hours import QuietHours

policy_group((*RULES, QuietHours()))()
"""


def run(world: World, *arguments: str) -> Any:
    """Run `lotus-guard policy` as a process, with the new rule."""
    return deferToThread(
        lambda: subprocess.run(
            [sys.executable, "-c", COMMAND, *arguments],
            cwd=ROOT,
            env={**os.environ, **world.sandbox.environment(), "POLICY_USER_TOKEN": ADMIN_TOKEN},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    )


@pytest_twisted.ensureDeferred
async def test_it_is_set_and_shown_from_the_command_line(world: World) -> None:
    world.start_guard()
    done = await run(world, "set", OPEN, "--quiet")
    assert done.returncode == 0, done.stderr
    assert "Set io.lotus.quiet_hours." in done.stdout
    assert "Nobody may publish video." in done.stdout
    assert (await world.ask("alice", OPEN)).sources == ["microphone", "screen_share_audio"]
    done = await run(world, "show", OPEN, "--json")
    assert json.loads(done.stdout)["quiet"]["quiet"] is True
    done = await run(world, "show", OPEN)
    assert "Quiet    Nobody may publish video." in done.stdout
    done = await run(world, "clear", OPEN, "--quiet-hours", "--yes")
    assert "Video is allowed." in done.stdout
    assert (await world.ask("alice", OPEN)).sources is None


def test_the_words_of_the_command_line_name_it() -> None:
    told = CliRunner().invoke(policy_group(MORE), ["set", "!r:s"]).output
    assert ", --quiet or --no-quiet" in told


def test_a_complaint_of_it_is_logged_and_restricts_nothing() -> None:
    reading = QUIET.read({"quiet": "yes"})
    assert not reading.policy.restricts
    assert reading.complaints == ("io.lotus.quiet_hours: quiet is 'yes'",)


@pytest_twisted.ensureDeferred
async def test_the_landing_page_and_the_sandbox_have_it(world: World) -> None:
    world.start_guard()
    page = (await world.request("GET", "/")).body.decode()
    assert page == landing_page(MORE, ENGLISH).body.decode()
    assert f'{QUIET.event}\n{{"quiet": true}}' in page
    text = welcome(Entrances("http://guard", None), world.sandbox.addresses, MORE)
    assert "!quiet:sandbox (no video)" in text
    assert QUIET.trial.text in text


def test_its_name_is_in_the_metrics(world: World) -> None:
    world.start_guard()
    outage = Outage(Reason.RESET, "made up")
    world.guard.overview.records.failed_open("quiet", outage)
    text = world.guard.metrics.exposition().decode()
    assert 'lotus_guard_fail_open_total{reason="reset",rule="quiet"} 1.0' in text


def test_rules_have_names_of_their_own() -> None:
    for values in zip(*[(r.name, r.heading, r.clear_flag[0]) for r in MORE], strict=True):
        assert len(set(values)) == len(MORE)
    assert all(len(rule.heading) <= 8 for rule in MORE)
