"""A rule added as its author adds it, one file and one line, in front of the real servers."""

import difflib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import quiet_hours
from tests.real.conftest import require_real
from tests.real.processes import ROOT, http
from tests.real.stack import Stack, milliseconds, running_stack
from tests.real.test_policy_command import lotus_guard

LIST, LONGER = "(Limit(), Media(), Cameras())", "(Limit(), Media(), Cameras(), QuietHours())"
IMPORT = "from lotus_guard.rules.media import Media\n"
MORE = IMPORT + "from lotus_guard.rules.quiet_hours import QuietHours\n"


def add_rule(source: Path) -> None:
    """Do as docs/architecture.md, A new rule: a module, and its entry in `RULES`."""
    shutil.copy(quiet_hours.__file__, source / "lotus_guard/rules/quiet_hours.py")
    registry = source / "lotus_guard/rules/__init__.py"
    text = registry.read_text()
    assert text.count(LIST) == text.count(IMPORT) == 1
    registry.write_text(text.replace(LIST, LONGER).replace(IMPORT, MORE))


def changed(source: Path) -> list[str]:
    """List the files in which the copy differs from the tree."""
    found = []
    for path in sorted(source.rglob("*.py")):
        ours = ROOT / path.relative_to(source)
        before = ours.read_text() if ours.exists() else ""
        lines = [
            each
            for each in difflib.ndiff(before.splitlines(), path.read_text().splitlines())
            if each[:1] in "+-"
        ]
        if lines:
            found.append(f"{path.relative_to(source)}: {len(lines)} lines")
    return found


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    require_real()
    source = tmp_path_factory.mktemp("source")
    shutil.copytree(ROOT / "lotus_guard", source / "lotus_guard")
    add_rule(source)
    print(f"\nchanged for the new rule: {changed(source)}")
    assert len(changed(source)) == 2
    directory = tmp_path_factory.mktemp("quiet")
    settings: dict[str, Any] = {
        "PYTHONPATH": f"{source}:{ROOT}",
        "LOTUS_GUARD_TRUSTED_PROXIES": "192.0.2.1",
    }
    with running_stack(directory, **settings) as stack:
        yield stack


def test_it_is_set_enforced_live_and_explained(quiet: Stack) -> None:
    alice, bob = quiet.users(2)
    room = quiet.room()
    alice_in, bob_in = quiet.join(alice, room), quiet.join(bob, room)
    camera = alice_in.publish("video", "camera")
    bob_in.hears("track_subscribed", sid=camera["sid"])
    code, out, _ = lotus_guard(quiet, "policy", "set", room, "--quiet", user=quiet.synapse.admin)
    assert (code, "Nobody may publish video." in out) == (0, True)
    gone = bob_in.hears("track_unpublished", 10.0, sid=camera["sid"])
    print(f"quiet hours: the camera went within {milliseconds(gone['at'] - camera['at'])} ms")
    assert alice_in.publish("video", "camera").get("refused")
    assert alice_in.publish("audio", "microphone")["ok"]
    code, out, _ = lotus_guard(quiet, "explain", alice.user_id, room)
    assert (code, "rule    quiet" in out, "replay  the same: narrowed" in out) == (0, True, True)
    code, out, _ = lotus_guard(quiet, "rooms")
    assert (code, "no video" in out) == (0, True)
    desk = f"http://127.0.0.1:{quiet.guard.admin_port}"
    assert http("GET", f"{desk}/readyz").json()["guard"]["rules"]["quiet"] == "enforce"
    alice_in.disconnect()
    bob_in.disconnect()


def test_its_token_and_the_other_rules_beside_it(quiet: Stack) -> None:
    alice, bob, carol = quiet.users(3)
    room = quiet.room(limit={"max_users": 2})
    quiet.set_policy(room, quiet_hours.QuietHours.event, {"quiet": True})
    got = [quiet.ask(user, room) for user in (alice, bob, carol)]
    assert [each.status for each in got] == [200, 200, 403]
    alice_in = quiet.join(alice, room)
    assert alice_in.publish("video", "camera").get("refused")
    alice_in.disconnect()
    assert not [name for name in quiet.guard.metrics() if "fail_open_total{" in name]
