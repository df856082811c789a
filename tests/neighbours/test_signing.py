"""What our calls to LiveKit are signed with, where secrets are renewed and clocks are set."""

from email.utils import formatdate
from typing import Any

import jwt
import pytest_twisted
from twisted.web.http_headers import Headers

from lotus_guard.core.clock import ServerClock
from lotus_guard.core.token import KeyPair
from lotus_guard.enforce.credentials import Credential
from lotus_guard.neighbours.http import HttpAnswer
from lotus_guard.neighbours.signing import ENOUGH, MOST_TRIES, Signer, Signing
from tests.neighbours.answering import result_of

NOW = 1_790_000_000.0
PAIR, RENEWED = KeyPair("key", "s" * 32), KeyPair("key", "r" * 32)


def clock() -> ServerClock:
    return ServerClock("LiveKit", lambda: NOW)


class SFU:
    """Takes what one secret signs, by its own clock."""

    def __init__(self, pair: KeyPair = PAIR, ahead: float = 0.0) -> None:
        self.pair, self.ahead = pair, ahead
        self.asked: list[Signing] = []

    async def __call__(self, signing: Signing, epoch: float, _seconds: float) -> HttpAnswer:
        self.asked.append(signing)
        at = NOW + self.ahead
        claims = claims_of(signing.token({"roomList": True}, epoch))
        is_taken = signing.pair == self.pair and claims["nbf"] <= at < claims["exp"]
        date = Headers({"Date": [formatdate(at, usegmt=True)]})
        return HttpAnswer(200 if is_taken else 401, date, b"")


def claims_of(token: bytes) -> Any:
    return jwt.decode(token, options={"verify_signature": False})


def test_a_token_says_who_may_do_what_and_for_how_long() -> None:
    claims = claims_of(Signing(PAIR, 100.0).token({"room": "r"}, NOW))
    assert claims["iss"] == "key"
    assert claims["video"] == {"room": "r"}
    assert claims["nbf"] < NOW + 100.0 < claims["exp"]
    assert "sub" not in claims
    assert claims_of(Signing(PAIR, 0.0).token({}, NOW, sub="me"))["sub"] == "me"


def test_a_clock_that_is_apart_is_followed_from_the_first_refusal_on() -> None:
    for ahead in (600.0, -600.0, ENOUGH + 60.0):
        sfu, signer = SFU(ahead=ahead), Signer(Credential("KEY", PAIR), clock(), lambda: 0.0)
        for tries in (2, 1):
            sfu.asked.clear()
            assert result_of(signer.asked(1.0, sfu)).status == 200
            assert len(sfu.asked) == tries
        assert abs(signer.clock.followed - ahead) <= 1.0
        assert signer.describe()["state"] == "trouble"


def test_a_clock_is_ok_only_once_it_was_seen() -> None:
    signer = Signer(Credential("KEY", PAIR), clock(), lambda: 0.0)
    assert signer.describe()["state"] == "unknown"
    result_of(signer.asked(1.0, SFU()))
    assert signer.describe()["state"] == "ok"


def test_a_secret_that_livekit_does_not_know_yet_or_no_longer_does_no_harm() -> None:
    keys: Credential[KeyPair] = Credential("KEY", PAIR, read=lambda: RENEWED, now=lambda: 0.0)
    signer = Signer(keys, clock(), lambda: 0.0)
    assert result_of(signer.asked(1.0, SFU(RENEWED))).status == 200, "read again at the refusal"
    assert keys.value == RENEWED
    assert result_of(signer.asked(1.0, SFU(PAIR))).status == 200, "what it was before"
    sfu = SFU(PAIR)
    result_of(signer.asked(1.0, sfu))
    assert [each.pair for each in sfu.asked] == [PAIR], "what was taken last is tried first"


def test_one_that_takes_nothing_is_asked_few_times() -> None:
    keys: Credential[KeyPair] = Credential("KEY", PAIR, read=lambda: RENEWED, now=lambda: 0.0)
    sfu = SFU(KeyPair("key", "x" * 32), ahead=600.0)
    answer = result_of(Signer(keys, clock(), lambda: 0.0).asked(1.0, sfu))
    assert answer.status == 401
    assert len(sfu.asked) == len(set(sfu.asked)) <= MOST_TRIES


def test_the_tries_have_one_deadline_together() -> None:
    now, given = [0.0], list[float]()

    async def slow(_signing: Signing, _epoch: float, seconds: float) -> HttpAnswer:
        given.append(seconds)
        now[0] += 0.75
        return HttpAnswer(401, Headers({"Date": [formatdate(NOW + 600, usegmt=True)]}), b"")

    signer = Signer(Credential("KEY", PAIR), clock(), lambda: now[0])
    result_of(signer.asked(1.0, slow))
    assert given == [1.0, 0.25]


@pytest_twisted.ensureDeferred
async def test_a_clock_that_is_set_while_we_ask_costs_no_answer() -> None:
    """The second question comes within the second of the first, which was under way."""
    pair, ours, livekits = KeyPair("key", "s" * 32), [NOW], [NOW]
    signer = Signer(Credential("it", pair), ServerClock("LiveKit", lambda: ours[0]), lambda: 0.0)
    jumps = iter([1200.0, 0.0, 0.0, 0.0])

    async def ask(signing: Signing, epoch: float, _seconds: float) -> HttpAnswer:
        jump = next(jumps)
        claims = jwt.decode(
            signing.token({}, epoch), pair.secret, ["HS256"], options={"verify_signature": False}
        )
        is_valid = claims["nbf"] <= livekits[0] < claims["exp"]
        ours[0] += jump
        date = Headers({"Date": [formatdate(livekits[0], usegmt=True)]})
        return HttpAnswer(200 if is_valid else 401, date, b"")

    assert [(await signer.asked(1.0, ask)).status for _ in range(2)] == [200, 200]


@pytest_twisted.ensureDeferred
async def test_what_is_under_way_at_a_renewal_does_not_stand_for_the_new_secret() -> None:
    old, new = PAIR, RENEWED
    keys = Credential("LIVEKIT_KEY_FILE", old)
    signer = Signer(keys, clock(), lambda: 0.0)
    used: list[KeyPair] = []

    async def ask(signing: Signing, _epoch: float, _seconds: float) -> HttpAnswer:
        used.append(signing.pair)
        keys.value = new
        return HttpAnswer(200, Headers(), b"")

    for _ in range(3):
        await signer.asked(1.0, ask)
    assert used == [old, new, new]
