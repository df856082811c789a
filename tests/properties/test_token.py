"""The laws of opening, narrowing and signing tokens."""

import base64
import hmac
import json
from typing import Any

import jwt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lotus_guard.core.model import Source
from lotus_guard.core.token import KeyPair, NotOurs, open_token, restrain, sign
from tests.grants import allows

KEY, SECRET = "key", "a-secret-of-32-characters-or-more"
PAIR = KeyPair(KEY, SECRET)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
HOSTILE = st.text(st.sampled_from(">?~\x7f<&'\"\\/é\u2028\U0001f600ab"), max_size=40)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64) | TEXT | HOSTILE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(["camera", "microphone", "screen_share", "screen_share_audio"])
VIDEO = st.fixed_dictionaries(
    {"room": HOSTILE.filter(bool)},
    optional={
        "canPublish": st.none() | st.booleans(),
        "canPublishSources": st.none() | st.lists(NAMES, max_size=4),
        "roomJoin": st.booleans(),
        "other": VALUES,
    },
)
CLAIMS = st.builds(
    lambda more, video, sub, nbf, life: {
        **{k: v for k, v in more.items() if k not in ("iss", "sub", "nbf", "exp", "video")},
        "iss": KEY,
        "sub": sub,
        "nbf": nbf,
        "exp": nbf + life,
        "video": video,
    },
    st.dictionaries(TEXT | HOSTILE, VALUES, max_size=3),
    VIDEO,
    HOSTILE.filter(bool),
    st.integers(0, 2**31),
    st.integers(1, 7200),
)
FORBIDDEN = st.frozensets(st.sampled_from(sorted(set(Source) - {Source.MICROPHONE})))
# PyJWT has its own ideas of these: `aud` and the like never come from lk-jwt-service.
RESERVED = ("aud", "jti", "iat")


def encode(claims: dict[str, Any], secret: str = SECRET, algorithm: str = "HS256") -> str:
    return jwt.encode(claims, secret, algorithm=algorithm)


@given(claims=CLAIMS, forbidden=FORBIDDEN, life=st.integers(0, 600))
def test_what_we_sign_opens_again_and_every_other_claim_is_as_it_was(
    claims: dict[str, Any], forbidden: frozenset[Source], life: int
) -> None:
    assume(not set(RESERVED) & set(claims))
    token = open_token(encode(claims), [PAIR])
    after = open_token(sign(restrain(token, forbidden, life, 0.0)), [PAIR])
    for name in claims.keys() - {"exp", "video"}:
        assert after.claims[name] == claims[name]
    video = dict(after.claims["video"])
    for name in claims["video"].keys() - {"canPublish", "canPublishSources"}:
        assert video[name] == claims["video"][name]
    assert after.claims["exp"] <= claims["exp"]
    assert not life or after.claims["exp"] <= claims["nbf"] + life
    for source in Source:
        assert allows(after.grant, source) == (
            allows(token.grant, source) and source not in forbidden
        )
    if not after.grant.can_publish and token.grant.can_publish:
        assert video["canPublish"] is False


@given(claims=CLAIMS)
def test_the_payload_is_safe_for_atob(claims: dict[str, Any]) -> None:
    assume(not set(RESERVED) & set(claims))
    signed = sign(open_token(encode(claims), [PAIR]))
    header, payload, _ = signed.split(".")
    assert not set("-_") & set(header + payload)
    assert json.loads(base64.b64decode(payload + "=" * (-len(payload) % 4))) == claims


@given(claims=CLAIMS, data=st.data())
def test_a_flipped_bit_is_refused(claims: dict[str, Any], data: st.DataObject) -> None:
    """In what the signature covers and in the signature itself, as bytes.

    Not in the text: the unused bits of the last base64 character may be anything.
    """
    assume(not set(RESERVED) & set(claims))
    pieces = [base64.urlsafe_b64decode(p + "==") for p in encode(claims).split(".")]
    piece = data.draw(st.sampled_from([0, 1, 2]))
    bit = data.draw(st.integers(0, len(pieces[piece]) * 8 - 1))
    broken = bytearray(pieces[piece])
    broken[bit // 8] ^= 1 << (bit % 8)
    pieces[piece] = bytes(broken)
    text = ".".join(base64.urlsafe_b64encode(p).decode().rstrip("=") for p in pieces)
    with pytest.raises(NotOurs):
        open_token(text, [PAIR])


@given(secret=st.text(max_size=80), message=st.binary(max_size=200))
def test_a_pair_signs_as_hmac_does_however_long_its_secret_is(secret: str, message: bytes) -> None:
    pair = KeyPair(KEY, secret)
    for _ in range(2):
        assert pair.digest(message) == hmac.digest(secret.encode(), message, "sha256")
