"""LiveKit tokens: which are ours, how long they live, and what a narrower one says."""

import base64
import hmac
import json
from typing import Any

import jwt
import pytest

from lotus_guard.core.ids import MOST_NAME
from lotus_guard.core.model import Source
from lotus_guard.core.token import (
    MOST_TOKEN,
    KeyPair,
    NotOurs,
    Unfit,
    begins,
    lifetime,
    mint,
    open_token,
    restrain,
    sign,
)

KEY, SECRET = "key", "a-secret-of-32-characters-or-more"
PAIR = KeyPair(KEY, SECRET)
GOOD: dict[str, Any] = {"iss": KEY, "sub": "i", "nbf": 0, "exp": 1, "video": {"room": "r"}}


def encode(claims: dict[str, Any], secret: str = SECRET, algorithm: str = "HS256") -> str:
    """Sign with PyJWT itself, which knows nothing of ours."""
    return jwt.encode(claims, secret, algorithm=algorithm)


def signed(header: str, payload: str, secret: str = SECRET) -> str:
    """Sign a header and a payload as they are written."""
    pieces = (base64.urlsafe_b64encode(text.encode("latin-1")) for text in (header, payload))
    text = b".".join(piece.rstrip(b"=") for piece in pieces).decode()
    return f"{text}.{signature(text, secret)}"


def signature(text: str, secret: str = SECRET) -> str:
    digest = hmac.new(secret.encode(), text.encode(), "sha256").digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def test_a_token_of_our_own_names_the_key_whatever_its_claims_are_called() -> None:
    claims = jwt.decode(mint(PAIR, sub="i", pair=1), SECRET, algorithms=["HS256"])
    assert claims == {"iss": KEY, "sub": "i", "pair": 1}
    assert open_token(mint(PAIR, **GOOD), [PAIR]).identity == "i"


@pytest.mark.parametrize(
    "text",
    [
        encode(GOOD, "another-secret-of-32-characters-or-more"),
        encode({**GOOD, "iss": "other"}),
        encode(GOOD, algorithm="HS512"),
        jwt.encode(GOOD, "", algorithm="none"),
        encode({**GOOD, "video": {}}),
        encode({**GOOD, "video": 5}),
        encode({**GOOD, "sub": ""} | {"sub": None}),
        "",
        "a.b.c",
        "é.é.é",
    ],
)
def test_what_is_not_ours_is_refused(text: str) -> None:
    with pytest.raises(NotOurs):
        open_token(text, [PAIR])


@pytest.mark.parametrize(
    "header",
    [
        '{"alg":"HS256","typ":"JWT"}',
        '{"typ":"JWT","alg":"HS256"}',
        '{"alg":"HS256"}',
        '{ "alg": "HS256", "kid": "k" }',
    ],
)
def test_a_token_is_ours_however_its_header_is_written(header: str) -> None:
    assert open_token(signed(header, json.dumps(GOOD)), [PAIR]).claims == GOOD
    for secret in ("", "another-secret-of-32-characters-or-more"):
        with pytest.raises(NotOurs, match="signed the token with another secret"):
            open_token(signed(header, json.dumps(GOOD), secret), [PAIR])


@pytest.mark.parametrize("header", ['{"alg":"HS256","typ":"JWT"}', '{"alg":"HS256"}'])
@pytest.mark.parametrize("payload", ["", "[", "5", "[]", "{}", json.dumps(GOOD)[:-1], "\xff"])
def test_what_is_signed_and_no_token_is_not_ours(header: str, payload: str) -> None:
    with pytest.raises(NotOurs):
        open_token(signed(header, payload), [PAIR])


def test_a_payload_with_other_characters_is_not_ours() -> None:
    head, payload, _ = signed('{"alg":"HS256","typ":"JWT"}', json.dumps(GOOD)).split(".")
    odd = f"{head}.{payload[:9]}!!!!{payload[9:]}"
    with pytest.raises(NotOurs):
        open_token(f"{odd}.{signature(odd)}", [PAIR])


def test_what_we_sign_is_byte_for_byte_what_pyjwt_signs() -> None:
    assert mint(PAIR, **GOOD) == encode(GOOD)


def test_a_token_that_has_run_out_or_not_begun_is_still_judged() -> None:
    """The SFU checks the times, with a leeway; a clock of ours must not open the door."""
    for nbf, exp in ((0, 1), (2**33, 2**34)):
        assert open_token(encode({**GOOD, "nbf": nbf, "exp": exp}), [PAIR]).livekit_room == "r"


def test_a_secret_that_is_being_changed_opens_and_signs() -> None:
    new = KeyPair(KEY, "another-secret-of-32-characters-or-more")
    token = open_token(encode(GOOD), [new, PAIR])
    assert token.pair == PAIR
    assert open_token(sign(token), [PAIR]).claims == GOOD
    with pytest.raises(NotOurs):
        open_token(encode(GOOD), [new])
    with pytest.raises(NotOurs):
        open_token(encode(GOOD), [])


def test_a_name_longer_than_any_is_no_livekit_rooms() -> None:
    for claims in (
        {**GOOD, "sub": "x" * (MOST_NAME + 1)},
        {**GOOD, "video": {"room": "x" * (MOST_NAME + 1)}},
    ):
        with pytest.raises(Unfit):
            open_token(encode(claims), [PAIR])


@pytest.mark.parametrize("secret", [SECRET, "another-secret-of-32-characters-or-more"])
def test_a_longer_token_than_any_is_nobodys_and_costs_nothing(secret: str) -> None:
    """Whoever signed it: PyJWT would look at each character of it first."""
    long = jwt.encode({**GOOD, "metadata": "x" * MOST_TOKEN}, secret, algorithm="HS256")
    with pytest.raises(Unfit, match="token_too_long"):
        open_token(long, [])


def test_a_header_without_an_end_is_not_ours() -> None:
    deep = base64.urlsafe_b64encode(b"[" * 9000).decode().rstrip("=")
    with pytest.raises(NotOurs):
        open_token(f"{deep}.e30.AAAA", [PAIR])


def test_a_token_lives_from_its_own_beginning() -> None:
    token = open_token(encode({**GOOD, "nbf": 1000, "exp": 4600}), [PAIR])
    assert (lifetime(token, 0.0), begins(token)) == (3600, 1000)
    short = restrain(token, frozenset(), 600, 99_999.0)
    assert short.claims["exp"] == 1600
    assert restrain(short, frozenset(), 900, 0.0) is short, "never longer than it was"
    endless = open_token(encode({"iss": KEY, "sub": "i", "video": {"room": "r"}}), [PAIR])
    assert (lifetime(endless, 5.0), begins(endless)) == (None, None)
    assert restrain(endless, frozenset(), 600, 0.0) is endless


def test_what_a_narrower_token_says() -> None:
    token = open_token(encode(GOOD), [PAIR])
    everything = {Source.CAMERA, Source.SCREEN_SHARE, Source.SCREEN_SHARE_AUDIO}
    video = restrain(token, everything, 0, 0.0).claims["video"]
    assert video == {"room": "r", "canPublishSources": ["microphone"]}
    camera = {**GOOD, "video": {"room": "r", "canPublishSources": ["camera"]}}
    video = restrain(open_token(encode(camera), [PAIR]), everything, 0, 0.0).claims["video"]
    assert video == {
        "room": "r",
        "canPublishSources": [],
        "canPublish": False,
        "canPublishData": True,
    }, "data went with canPublish, and nobody forbids them"
    silent = {**GOOD, "video": {"room": "r", "canPublishData": False}}
    video = restrain(open_token(encode(silent), [PAIR]), set(Source), 0, 0.0).claims["video"]
    assert video["canPublishData"] is False, "what upstream forbids stays so"


def test_a_pair_shows_neither_its_secret_nor_what_is_made_of_it() -> None:
    assert repr(PAIR) == "KeyPair(key='key')"
    assert KeyPair(KEY, SECRET) == PAIR
    assert hash(KeyPair(KEY, SECRET)) == hash(PAIR)


def test_a_secret_that_is_no_text_opens_nothing_and_does_not_fail() -> None:
    odd = KeyPair(KEY, "\udcff" * 40)
    with pytest.raises(NotOurs):
        open_token(encode(GOOD), [odd])
    with pytest.raises(NotOurs):
        open_token(mint(odd, **GOOD), [PAIR])


@pytest.mark.parametrize("end", [5000, 5000.5, float("nan"), None, "5000"])
def test_an_end_that_is_not_later_stays_as_it_is_written(end: Any) -> None:
    token = open_token(mint(PAIR, **{**GOOD, "nbf": 4000, "exp": end}), [PAIR])
    assert restrain(token, frozenset(), 1001, 0.0) is token
