"""Credentials in files: renewed while the guard runs, never half, and never shown."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import pytest_twisted
from attrs import define
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from zope.interface import implementer

from lotus_guard.core.token import KeyPair, NotOurs, open_token, sign
from lotus_guard.rules.push import sign_push
from lotus_guard.run.config import read_config
from lotus_guard.run.setting import Faulty
from lotus_guard.sandbox.livekit_webhooks import sign_webhook
from lotus_guard.sandbox.stack import KEY, SECRET, TWO, VOICE
from tests.enforce.test_credentials import put
from tests.events import JUDGING
from tests.test_docs import GOOD
from tests.world import World

NEW_SECRET = "a-renewed-secret-of-at-least-32-bytes"
PUSH = "push-secret-before-the-change"
NEW_PUSH = "push-secret-after-the-change"
ALWAYS = {"LOTUS_GUARD_POLICY_STALE": "0", "LOTUS_GUARD_POLICY_MAX_AGE": "0"}


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """All that is logged, tracebacks and fields too."""
    seen: list[str] = []

    @implementer(ILogObserver)
    class Keeper:
        def __call__(self, event: Any) -> None:
            seen.append(f"{formatEvent(event)} {event!r}")

    keeper = Keeper()
    globalLogPublisher.addObserver(keeper)
    yield seen
    globalLogPublisher.removeObserver(keeper)


def test_what_stands_in_the_environment_is_never_read_again() -> None:
    config = read_config(GOOD)
    assert "environment" in config.credentials.livekit.again()
    assert not config.credentials.livekit.renewed(config.credentials.livekit.value)
    config.credentials.look()
    config.credentials.reload()
    assert (config.key, config.secret) == ("key", "secret")


def test_key_and_secret_change_together(tmp_path: Path) -> None:
    both = tmp_path / "keys"
    both.write_text("one: secret-one")
    config = read_config({**GOOD, "LIVEKIT_KEY_FILE": str(both)})
    put(both, "two: secret-two")
    config.credentials.reload()
    assert (config.key, config.secret) == ("two", "secret-two")
    put(both, "three")
    config.credentials.reload()
    assert (config.key, config.secret) == ("two", "secret-two")


def test_a_token_is_signed_with_the_secret_that_verified_it() -> None:
    old, new = KeyPair("key", SECRET), KeyPair("key", NEW_SECRET)
    claims = {"iss": "key", "sub": "@a:s:D", "video": {"room": "r"}}
    for pair in (old, new):
        encoded = jwt.encode(claims, pair.secret, algorithm="HS256")
        signed = sign(open_token(encoded, [new, old]))
        assert jwt.decode(signed, pair.secret, algorithms=["HS256"]) == claims
    with pytest.raises(NotOurs):
        open_token(jwt.encode(claims, "x" * 32, algorithm="HS256"), [new, old])


# --- a guard -------------------------------------------------------------------------------------


@define(eq=False)
class Files:
    """A guard with all its credentials in files."""

    world: World
    directory: Path

    def start(self, **settings: str) -> None:
        self.put("token", self.world.sandbox.environment()["LOTUS_GUARD_SYNAPSE_TOKEN"])
        self.put("keys", f"{KEY}: {SECRET}")
        self.put("push", PUSH)
        self.world.start_guard(
            **{
                "LOTUS_GUARD_SYNAPSE_TOKEN_FROM_FILE": str(self.directory / "token"),
                "LIVEKIT_KEY_FILE": str(self.directory / "keys"),
                "LOTUS_GUARD_PUSH_SECRET_FROM_FILE": str(self.directory / "push"),
                **ALWAYS,
                **settings,
            }
        )

    def put(self, name: str, text: str) -> None:
        put(self.directory / name, text + "\n")

    def renew_account(self, token: str) -> None:
        """Let the admin have another token, as of now."""
        accounts = self.world.sandbox.homeserver.accounts
        (old,) = [name for name, account in accounts.items() if account.admin]
        accounts[token] = accounts.pop(old)


@pytest.fixture
def files(world: World, tmp_path: Path) -> Files:
    directory = tmp_path / "secrets"
    directory.mkdir()
    return Files(world, directory)


async def held(world: World) -> list[int]:
    """Ask for three seats in a room for two, and for one where no camera is allowed."""
    seats = [(await world.ask(name, TWO)).status for name in ("alice", "bob", "carol")]
    assert (await world.ask("alice", VOICE)).sources == ["microphone"]
    return seats


def rotate(world: World) -> None:
    """Let LiveKit and lk-jwt-service have the new secret."""
    sandbox = world.sandbox
    sandbox.sfu.secret = sandbox.authorization.issuer.secret = NEW_SECRET
    make_rooms_itself(world)


def make_rooms_itself(world: World) -> None:
    """Let lk-jwt-service's rooms be made whatever its secret, and whatever time it is."""

    async def create(name: str) -> None:
        world.sandbox.sfu.create(name)

    world.sandbox.authorization.create_room = create


async def asked(world: World) -> None:
    """Ask for tokens, whatever becomes of it."""
    for name in ("alice", "bob", "carol"):
        for room in (TWO, VOICE):
            await world.ask(name, room)


@pytest_twisted.ensureDeferred
async def test_a_renewed_admin_token_opens_nothing(files: Files) -> None:
    files.start()
    for number in range(3):
        files.renew_account(f"renewed-{number}")
        files.put("token", f"renewed-{number}")
        assert await held(files.world) == [200, 200, 403]
    assert files.world.fail_opens() == {}


@pytest_twisted.ensureDeferred
async def test_a_token_that_is_refused_and_not_renewed_is_the_outage_it_was(files: Files) -> None:
    files.start()
    files.renew_account("nobody-told-the-guard")
    assert (await files.world.ask("alice", TWO)).status == 200
    assert set(files.world.fail_opens()) == {(rule.name, "unauthorized") for rule in JUDGING}


@pytest_twisted.ensureDeferred
async def test_a_new_secret_is_no_matter_whoever_has_it_first(
    files: Files, logged: list[str]
) -> None:
    files.start()
    world, sandbox = files.world, files.world.sandbox
    assert await held(world) == [200, 200, 403]
    files.put("keys", f"{KEY}: {NEW_SECRET}")
    world.config.credentials.reload()
    assert await held(world) == [200, 200, 403], "the guard first"
    joined = sandbox.sfu.join((await world.ask("alice", TWO)).json()["jwt"])
    assert joined.identity, "the SFU takes what we sign"
    said = [line for line in logged if "refuses the new key in LIVEKIT_KEY_FILE" in line]
    assert len(said) == 1, "or a restart would come as a surprise"
    rotate(world)
    assert await held(world) == [200, 200, 403], "then the others"
    assert len([line for line in logged if "refuses the new key" in line]) == 1
    assert world.fail_opens() == {}


@pytest_twisted.ensureDeferred
async def test_a_new_secret_that_the_others_have_first_is_read_when_it_is_missed(
    files: Files,
) -> None:
    files.start()
    assert await held(files.world) == [200, 200, 403]
    files.put("keys", f"{KEY}: {NEW_SECRET}")
    rotate(files.world)
    assert await held(files.world) == [200, 200, 403]
    assert files.world.fail_opens() == {}


@pytest_twisted.ensureDeferred
async def test_webhooks_and_pushes_may_lag_behind(files: Files) -> None:
    files.start()
    world = files.world
    files.put("keys", f"{KEY}: {NEW_SECRET}")
    files.put("push", NEW_PUSH)
    world.config.credentials.reload()
    event = world.sandbox.sfu.create("room")
    for secret, push, status in (
        (SECRET, PUSH, 204),
        (NEW_SECRET, NEW_PUSH, 204),
        ("x" * 32, "x" * 32, 401),
    ):
        body, token = sign_webhook(event, KEY, secret, time.time())
        await world.request("POST", "/webhook", body, {"Authorization": token}, world.operators)
        signed = {"Lotus-Guard-Signature": sign_push(b"{}", push, time.time())}
        assert (
            await world.request("POST", "/policy", b"{}", signed, world.operators)
        ).status == status
    got = (await world.request("GET", "/readyz", base=world.operators)).json()
    assert got["webhooks"] == {"genuine": 2, "forged": 1}


@pytest_twisted.ensureDeferred
async def test_no_secret_is_in_a_dump_a_log_or_a_page(files: Files, logged: list[str]) -> None:
    """In no state of trouble: refused, renewed, unreadable, forged."""
    files.start()
    world = files.world
    shown = [repr(world.config)]
    files.renew_account("an-admin-token-that-was-renewed")
    await asked(world)
    files.put("token", "an-admin-token-that-was-renewed")
    files.put("keys", f"{KEY}: {NEW_SECRET}")
    files.put("push", NEW_PUSH)
    world.config.credentials.reload()
    await asked(world)
    make_rooms_itself(world)
    world.sandbox.sfu.secret = "a-secret-that-nobody-told-the-guard"
    await asked(world)
    for name in ("token", "keys", "push"):
        files.put(name, "a secret of\nno use")
    world.config.credentials.reload()
    signed = {"Lotus-Guard-Signature": sign_push(b"{}", "x" * 32, time.time())}
    await world.request("POST", "/policy", b"{}", signed, world.operators)
    guard = world.guard
    for part in (guard.live, guard.hints.pushes, guard.public.door, *guard.loop.backends):
        shown.append(repr(part))
    shown += [repr(each) for each in (world.config.credentials, world.config)]
    for path in ("/metrics", "/readyz", "/decisions", "/rooms"):
        shown.append((await world.request("GET", path, base=world.operators)).body.decode())
    text = "\n".join([*shown, *logged])
    for secret in (
        SECRET,
        NEW_SECRET,
        PUSH,
        NEW_PUSH,
        world.sandbox.environment()["LOTUS_GUARD_SYNAPSE_TOKEN"],
        "an-admin-token-that-was-renewed",
        "a secret of",
    ):
        assert secret not in text


def test_faults_at_the_start_are_all_told(tmp_path: Path) -> None:
    lost = str(tmp_path / "lost")
    names = ("LIVEKIT_KEY_FROM_FILE", "LIVEKIT_SECRET_FROM_FILE")
    with pytest.raises(Faulty) as caught:
        read_config({**GOOD, **dict.fromkeys(names, lost)})
    assert [line.partition(":")[0] for line in caught.value.faults] == list(names)
