"""`lotus-guard policy` as operators run it, against the sandbox's Synapse."""

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
import time
from typing import Any

import pytest
import pytest_twisted
from click.testing import CliRunner
from twisted.internet.threads import deferToThread
from twisted.web.resource import Resource
from twisted.web.server import Site

from lotus_guard.cli import main
from tests.command_line import ROOT, neutral_environment, run
from tests.commands.kitchen import (
    ALIAS,
    HOSTILE_ROOM,
    MOD,
    PLAIN,
    ROOM,
    Answers,
    Kitchen,
)
from tests.events import LIMIT_EVENT, SOURCES_EVENT, UNSET
from tests.test_docs import GOOD
from tests.world import World


@pytest_twisted.ensureDeferred
async def test_the_commands_from_set_to_clear(kitchen: Kitchen) -> None:
    world, token = kitchen.world, {"POLICY_USER_TOKEN": MOD}
    out, err, code = await run(
        world, "policy", "set", ALIAS, "--max-users", "5", "--no-screenshare", **token
    )
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"Set {LIMIT_EVENT} and {SOURCES_EVENT}. Policy of {ROOM}:",
        "  At most 5 different people may be in the room's calls.",
        "  Cameras are allowed.",
        "  Nobody may share a screen.",
        *(f"  {sentence}" for sentence in UNSET),
    ]
    out, err, code = await run(world, "policy", "show", ROOM)
    assert (code, err) == (0, "")
    assert f"{LIMIT_EVENT}, set by @mod:sandbox on " in out
    assert "\x1b" not in out
    out, _, code = await run(world, "policy", "show", ALIAS, "--json")
    told = json.loads(out)
    assert (told["room"], told["limit"]["max_users"]) == (ROOM, 5)
    assert told["sources"]["forbidden"] == ["screen_share", "screen_share_audio"]
    out, err, code = await run(world, "policy", "clear", ROOM, "--media", "--yes", "--token", MOD)
    assert (code, err) == (0, "")
    assert kitchen.content(SOURCES_EVENT) == {}
    assert kitchen.content(LIMIT_EVENT) == {"max_users": 5}
    out, err, code = await run(world, "policy", "clear", ROOM, "--yes", **token)
    assert (code, kitchen.content(LIMIT_EVENT)) == (0, {})
    out, _, code = await run(world, "policy", "clear", ROOM, "--yes", **token)
    assert (code, out.splitlines()[0]) == (0, f"Nothing to change. Policy of {ROOM}:")


@pytest_twisted.ensureDeferred
async def test_the_commands_print_a_hostile_room_escaped(kitchen: Kitchen) -> None:
    room = f"{HOSTILE_ROOM}:s"
    kitchen.states.add_room(room, "@mod:sandbox")
    for arguments in (
        ("set", room, "--max-users", "5", "--token", MOD),
        ("show", room),
        ("show", room, "--json"),
        ("clear", room, "--yes", "--token", MOD),
    ):
        out, err, code = await run(kitchen.world, "policy", *arguments)
        assert (code, err) == (0, "")
        assert "[bold red]" in out, "read as text, not as markup"
        assert all(line.isprintable() for line in out.splitlines()), arguments


@pytest_twisted.ensureDeferred
async def test_refusals_end_with_1_and_what_is_in_the_way_with_2(kitchen: Kitchen) -> None:
    nobody = {"LOTUS_GUARD_SYNAPSE_URL": "http://127.0.0.1:1"}
    one = ("set", ROOM, "--max-users", "1")
    for arguments, token, more, code, wanted in (
        (("show", "!nowhere:sandbox"), "", {}, 1, "Synapse does not know the room"),
        (one, PLAIN, {}, 1, "this needs power level 50"),
        (one, "wrong-token-0123456789", {}, 1, "rejects the user's access token"),
        (one, MOD, nobody, 2, "no answer from http://127.0.0.1:1"),
        (("show", ALIAS, "--homeserver", "http://127.0.0.1:1"), "", {}, 2, "connection refused"),
    ):
        variables = {"POLICY_USER_TOKEN": token, **more}
        out, err, got = await run(kitchen.world, "policy", *arguments, **variables)
        assert (got, out) == (code, ""), (arguments, out, err)
        assert wanted in err
        assert "Traceback" not in err
        assert not token or token not in err


LIMITED = ("set", ROOM, "--max-users", "1")


@pytest.mark.parametrize(
    ("arguments", "more", "wanted"),
    [
        (("set", ROOM), {}, "nothing to set; expected --max-users N"),
        (("set", ROOM, "--max-users", "0"), {}, "--max-users"),
        (("set", ROOM, "--max-users", "five"), {}, "--max-users"),
        (("set", ROOM, "--max-users", str(2**53)), {}, "--max-users"),
        ((*LIMITED, "--no-limit"), {}, "expected one of them"),
        ((*LIMITED, "--homeserver", "matrix.example.org"), {}, "--homeserver"),
        ((*LIMITED, "--homeserver", "http://u:p@x"), {}, "--homeserver"),
        ((*LIMITED, "--homeserver", "https://caf\u00e9.example"), {}, "--homeserver"),
        (LIMITED, {"POLICY_USER_TOKEN": ""}, "no access token in --token or $POLICY_USER_TOKEN"),
        (LIMITED, {"POLICY_USER_TOKEN": " "}, "the access token is empty"),
        (LIMITED, {"POLICY_USER_TOKEN": "caf\u00e9"}, "has characters that no token has"),
        (LIMITED, {"POLICY_USER_TOKEN": "two words"}, "has characters that no token has"),
        (("show", ROOM), {"LIVEKIT_SECRET": ""}, "LIVEKIT_SECRET: not set"),
        (("show", "kitchen"), {}, "'kitchen' is not a room; expected a room ID such as"),
        (("clear", ROOM), {}, "nothing was changed; --yes skips the question"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anybody_is_asked(
    arguments: tuple[str, ...], more: dict[str, str], wanted: str
) -> None:
    env = {**GOOD, "POLICY_USER_TOKEN": "a-token-that-must-not-be-shown", **more}
    done = CliRunner().invoke(main, ["policy", *arguments], env=env)
    assert (done.exit_code, done.stdout) == (2, "")
    assert wanted in done.stderr
    assert "must-not-be-shown" not in done.stderr
    assert not env["POLICY_USER_TOKEN"].strip() or env["POLICY_USER_TOKEN"] not in done.stderr


class Typing:
    """Somebody at a terminal, with the command before them."""

    def __init__(self, world: World, *arguments: str) -> None:
        env = {
            **neutral_environment(),
            **world.sandbox.environment(),
            "PYTHONPATH": str(ROOT),
            "TERM": "xterm",
        }
        self._terminal, theirs = pty.openpty()
        self.text = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lotus_guard.cli", "policy", *arguments],
            env=env,
            cwd=world.directory,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self._timer = threading.Timer(15.0, self.process.kill)
        self._timer.start()

    def wait_for(self, wanted: bytes) -> None:
        """Wait until this is to be read."""
        while wanted not in self.text:
            self.text += os.read(self._terminal, 65536)

    def answer(self, asked: bytes, typed: bytes) -> None:
        """Wait for a question and type an answer."""
        self.wait_for(asked)
        time.sleep(0.1)  # a hidden prompt turns the echo off after it asks
        os.write(self._terminal, typed)

    def end(self) -> tuple[int, str]:
        """Read to the end; gives exit code and all that was to be seen."""
        try:
            while chunk := os.read(self._terminal, 65536):
                self.text += chunk
        except OSError:  # the other end is closed: that is how a terminal ends on Linux
            pass
        self._timer.cancel()
        os.close(self._terminal)
        return self.process.wait(15.0), self.text.decode()


@pytest_twisted.ensureDeferred
async def test_clearing_asks_and_the_token_is_typed_in_unseen(kitchen: Kitchen) -> None:
    kitchen.has(LIMIT_EVENT, {"max_users": 5})

    def converse(*answers: tuple[bytes, bytes]) -> tuple[int, str]:
        typing = Typing(kitchen.world, "clear", ROOM, "--limit")
        for asked, typed in answers:
            typing.answer(asked, typed)
        return typing.end()

    question, prompt = f"Empty {LIMIT_EVENT} of {ROOM}?".encode(), b"Access token: "
    code, text = await deferToThread(converse, (question, b"n\n"))
    assert (code, "nothing was changed" in text) == (2, True)
    code, text = await deferToThread(converse, (question, b"y\n"), (prompt, b"\x03"))
    assert (code, "no access token, so nothing was changed" in text) == (2, True), text
    assert kitchen.content(LIMIT_EVENT) == {"max_users": 5}
    code, text = await deferToThread(converse, (question, b"y\n"), (prompt, MOD.encode() + b"\n"))
    assert (code, kitchen.content(LIMIT_EVENT)) == (0, {}), text
    assert MOD not in text
    assert "Any number of people" in text


@pytest_twisted.ensureDeferred
async def test_ctrl_c_before_it_is_done_is_no_success(kitchen: Kitchen) -> None:
    hanging = Answers(200, None)
    url = f"http://127.0.0.1:{kitchen.world._listen(0, Site(hanging))}"
    kitchen.states.waits = [20_000]

    def interrupt(is_hung: bool) -> tuple[int, str]:
        arguments = ["set", ROOM, "--max-users", "3", "--token", MOD]
        typing = Typing(kitchen.world, *arguments, *(["--homeserver", url] if is_hung else []))
        if is_hung:
            hanging.asked.get(timeout=15.0)
        else:
            typing.wait_for(b"waiting 20.0 s")
        typing.process.send_signal(signal.SIGINT)
        return typing.end()

    code, text = await deferToThread(interrupt, False)
    assert (code, "lotus-guard: interrupted" in text) == (2, True), text
    code, text = await deferToThread(interrupt, True)
    assert (code, "may or may not have been set" in text) == (2, True), text
    assert kitchen.content(LIMIT_EVENT) is None


@pytest_twisted.ensureDeferred
async def test_the_admins_token_stays_at_its_synapse(kitchen: Kitchen) -> None:
    """`--homeserver` gets the user's token alone, and none where no user is needed."""
    seen: list[tuple[bytes, str | None]] = []

    class Front(Resource):
        isLeaf = True

        def render(self, request: Any) -> bytes:
            seen.append((request.uri, request.getHeader("Authorization")))
            return b'{"event_id": "$e", "room_id": "%s"}' % ROOM.encode()

    url = f"http://127.0.0.1:{kitchen.world._listen(0, Site(Front()))}"
    arguments = ("set", ROOM, "--max-users", "4", "--homeserver", f"{url}/")
    _, err, code = await run(kitchen.world, "policy", *arguments, POLICY_USER_TOKEN=MOD)
    assert (code, err) == (0, "")
    path = b"/_matrix/client/v3/rooms/%21kitchen/state/io.lotus.voice_limit/"
    assert seen == [(path, f"Bearer {MOD}")]
    assert kitchen.content(LIMIT_EVENT) is None
    seen.clear()
    _, err, code = await run(kitchen.world, "policy", "show", ALIAS, "--homeserver", url)
    assert (code, err) == (0, "")
    assert seen == [(b"/_matrix/client/v3/directory/room/%23kitchen%3Asandbox", None)]
