"""LiveKit tokens: open one that our secret signed, sign the narrower one, mint our own.

The token, as lk-jwt-service makes it: HS256, header `{"alg":"HS256","typ":"JWT"}`, claims

    {"iss": API key, "sub": identity, "nbf": s, "exp": s,
     "video": {"roomJoin": true, "room": ..., "canPublish": true, "canSubscribe": true, ...}}

`canPublish` absent or null means true; `canPublishSources` absent, null or empty means every
source; its names must be lower case (docs/facts.md, LiveKit: permissions).
"""

import hmac
import json
from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from hashlib import sha256
from math import isfinite
from typing import Any

import jwt
from attrs import field, frozen
from jwt.algorithms import HMACAlgorithm

from lotus_guard.core.ids import MOST_NAME, fits
from lotus_guard.core.model import Grant, Identity, LiveKitRoom, Source
from lotus_guard.core.narrow import narrow
from lotus_guard.core.sentence import Sentence


class _OurSecret(HMACAlgorithm):
    """HS256 with a key that is a secret because the operator says so.

    PyJWT looks each time whether it might be a public key that somebody has confused with one; that
    costs more than the signature does.
    """

    def prepare_key(self, key: str | bytes) -> bytes:
        """The key as bytes."""
        return key if isinstance(key, bytes) else key.encode()

    def check_key_length(self, _key: bytes) -> str | None:
        """No complaint: it is LiveKit's key, and LiveKit's to judge."""
        return None


_JWS = jwt.PyJWS(algorithms=[])
_JWS.register_algorithm("HS256", _OurSecret(HMACAlgorithm.SHA256))

_HEAD = b"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
"""`{"alg":"HS256","typ":"JWT"}`, as lk-jwt-service in Go writes it, and PyJWT."""
_HEADS = (_HEAD, b"eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.")
"""The other one is `{"typ":"JWT","alg":"HS256"}`, as the libraries in Rust write it."""


_BLOCK = 64
"""Bytes of a block of SHA-256."""
_PADS = tuple(bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))
"""What each byte of the key becomes for the inner and for the outer digest of HMAC."""


class NotOurs(ValueError):
    """A token that our key and secret did not sign, or that is not a LiveKit join token."""


MOST_TOKEN = 16 * 1024
"""Bytes of a token. Upstream's have about one kilobyte; PyJWT looks at each character of a longer
one before it knows whose it is: 900 kB keep the reactor for a tenth of a second."""


class Unfit(ValueError):
    """A token that is not one that upstream makes for a client who keeps to Matrix.

    It is longer, or its room or its identity is: a homeserver of the client's own has said who
    they are, or has written the whole token. Or it was not made for this request.
    """

    def __init__(self, key: str, **fields: int) -> None:
        super().__init__(key)
        self.sentence = Sentence(key, fields)
        """What they read who asked for it."""


@frozen
class KeyPair:
    """LiveKit's API key, and the secret that goes with it."""

    key: str
    secret: str = field(repr=False)
    _begun: tuple[Any, Any] = field(init=False, repr=False, eq=False)
    """SHA-256 over the secret, as HMAC (RFC 2104) begins its inner and its outer digest.

    OpenSSL 3 prepares each HMAC anew, which takes three times as long as the rest of it.
    """

    @_begun.default
    def _begin(self) -> tuple[Any, Any]:
        # A secret that is no text is nobody's: what it signs nobody takes.
        key = self.secret.encode(errors="surrogatepass")
        block = (sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
        return tuple(sha256(block.translate(pad)) for pad in _PADS)  # type: ignore[return-value]

    def digest(self, message: bytes) -> bytes:
        """HMAC-SHA256 of a message with the secret."""
        begun_inner, begun_outer = self._begun
        inner, outer = begun_inner.copy(), begun_outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return bytes(outer.digest())


@frozen
class Token:
    """A verified token, as claims and as the three things in them that decide."""

    claims: Mapping[str, Any]
    livekit_room: LiveKitRoom
    identity: Identity
    grant: Grant
    pair: KeyPair
    """What upstream has signed it with, and what a narrower one is signed with."""


_JSON = json.JSONEncoder(separators=(",", ":"))
_ATOB_SAFE = {ord(c): f"\\u{ord(c):04x}" for c in ">?~"}
"""What makes a `-` or a `_` of JSON's base64url form, as the third of three bytes.

DEL does as well, and is escaped by `json` itself. They stand in strings only, so the JSON stays the
same with them escaped.
"""


def open_token(encoded: str, pairs: Sequence[KeyPair]) -> Token:
    """Verify a token by one of these pairs and read it; the pair's key must be its issuer.

    There are several while a secret is being changed. Raises NotOurs where the signature, the
    issuer or the shape is not right: it must then go out untouched, for whatever we signed
    instead, the SFU would refuse. Raises Unfit.
    """
    if len(encoded) > MOST_TOKEN:
        raise Unfit("token_too_long", bytes=MOST_TOKEN)
    why = NotOurs("there is no key and secret to verify it with")
    for pair in pairs:
        try:
            return _open(encoded, pair)
        except NotOurs as other:
            why = other
    raise why


def _open(encoded: str, pair: KeyPair) -> Token:
    try:
        # Upstream has just made it: only whose it is matters here. The SFU checks the times.
        claims: Any = json.loads(_verified(encoded, pair))
    except jwt.InvalidSignatureError:
        raise NotOurs("lk-jwt-service signed the token with another secret") from None
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise NotOurs(f"the token can't be read: {type(error).__name__}") from None
    if not isinstance(claims, dict):
        raise NotOurs("the token has no claims")
    if claims.get("iss") != pair.key:
        raise NotOurs("the token was issued with another API key")
    video, identity = claims.get("video"), claims.get("sub")
    if not isinstance(video, dict) or not isinstance(identity, str) or not video.get("room"):
        raise NotOurs("the token names no room or no identity")
    room = str(video["room"])
    if not (fits(room, MOST_NAME) and fits(identity, MOST_NAME)):
        raise Unfit("token_names_too_long")
    return Token(claims, LiveKitRoom(room), Identity(identity), _grant(video), pair)


def _verified(encoded: str, pair: KeyPair) -> str:
    """The payload of a token that this pair has signed; raises ValueError and jwt.PyJWTError.

    Nearly all tokens have one of two headers, and for those the signature is all there is to look
    at. PyJWT takes six times as long, and looks at the others, and at all that is not ours.
    """
    signed, _, signature = encoded.encode().rpartition(b".")
    if signed.startswith(_HEADS) and hmac.compare_digest(_signature(signed, pair), signature):
        payload = _base64_decoded(signed[len(_HEAD) :])
    else:
        payload = _JWS.decode(encoded, pair.secret, algorithms=["HS256"])
    return payload.decode("utf-8", "surrogatepass")


def _grant(video: Mapping[str, Any]) -> Grant:
    names = video.get("canPublishSources") or ()
    return Grant(video.get("canPublish") is not False, tuple(str(name) for name in names))


def restrain(token: Token, forbidden: AbstractSet[Source], life: int, now: float) -> Token:
    """Narrow a token's grant and shorten its life; the same token where nothing changes.

    `life` is in seconds from the token's own `nbf` (by upstream's clock, which the SFU already
    trusts; from `now`, in seconds since the epoch, where there is none), so that a wrong clock
    of ours can never mint a token that has run out. 0 leaves `exp` as it is. Never longer than
    it was.
    """
    grant = narrow(token.grant, forbidden)
    changed: dict[str, Any] = {}
    if grant is not token.grant:
        changed["video"] = _video(token.claims["video"], grant)
    end = token.claims.get("exp")
    if life and isinstance(end, int | float):
        sooner = int(_start(token.claims, now)) + life
        if sooner < end:
            changed["exp"] = sooner
    if not changed:
        return token
    claims = {**token.claims, **changed}
    return Token(claims, token.livekit_room, token.identity, grant, token.pair)


def _video(video: Mapping[str, Any], grant: Grant) -> dict[str, Any]:
    """What a token says of media, with a narrower grant."""
    narrower = {**video, "canPublishSources": list(grant.sources)}
    if not grant.can_publish:
        narrower["canPublish"] = False
        # It follows `canPublish` where it is not said, and nobody forbids data.
        narrower.setdefault("canPublishData", True)
    return narrower


def lifetime(token: Token, now: float) -> float | None:
    """For how many seconds a token is valid, from its `nbf` or from `now`; None: for ever."""
    end = token.claims.get("exp")
    return end - _start(token.claims, now) if isinstance(end, int | float) else None


def begins(token: Token) -> int | None:
    """From when on a token is valid, in seconds since the epoch by upstream's clock."""
    start = token.claims.get("nbf")
    return int(start) if isinstance(start, int | float) and isfinite(start) else None


def _start(claims: Mapping[str, Any], now: float) -> float:
    start = claims.get("nbf")
    return start if isinstance(start, int | float) else now


def sign(token: Token) -> str:
    """Encode a token with the secret that verified it.

    With another one than upstream signs with, the SFU might refuse what it would have taken.
    """
    return _signed(token.pair, token.claims)


def mint(pair: KeyPair, /, **claims: Any) -> str:
    """Sign a token with these claims, safe for Element Call's `atob`; its issuer is the key."""
    return _signed(pair, {"iss": pair.key, **claims})


def _signed(pair: KeyPair, claims: Mapping[str, Any]) -> str:
    """Write and sign claims.

    Element Call decodes a token's payload with `atob`, which knows neither `-` nor `_`
    (docs/facts.md, Element Call: reading a token).
    """
    text = _JSON.encode(claims)
    payload = _base64(text.encode("ascii"))
    if not payload.isalnum():
        payload = _base64(text.translate(_ATOB_SAFE).encode("ascii"))
    signed = _HEAD + payload
    return (signed + b"." + _signature(signed, pair)).decode("ascii")


def _signature(signed: bytes, pair: KeyPair) -> bytes:
    return _base64(pair.digest(signed))


_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_PLAIN = bytes.maketrans(b"-_", b"+/")


def _base64(data: bytes) -> bytes:
    return b2a_base64(data, newline=False).rstrip(b"=").translate(_URL_SAFE)


def _base64_decoded(text: bytes) -> bytes:
    padded = text.translate(_PLAIN) + b"=" * (-len(text) % 4)
    return a2b_base64(padded, strict_mode=True)
