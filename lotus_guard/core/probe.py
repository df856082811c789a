"""How `lotus-guard check` finds out whether a public address leads to this guard, and how.

    any method, any path
    Lotus-Guard-Probe: <milliseconds since the epoch>.<hex HMAC-SHA256 of "probe.ms">
    200 {"io.lotus.guard": {"method": "POST", "target": "/get_token", "client": "192.0.2.1",
                            "crowd": false, "peer": "10.0.0.2", "real": [],
                            "forwarded": ["192.0.2.1", "10.0.0.3"]}}

The guard answers a genuine probe itself and says what it got, so that what a proxy in front of it
does to paths, methods and headers can be seen from outside (`client`: for whom it took the sender;
`crowd`: a proxy did not say for whom it asks; `peer`, `real` and `forwarded`: who connected, and
what X-Real-IP and X-Forwarded-For say). Signed with LiveKit's secret: nobody else can ask, and who
else could would learn no more than what they sent, and who handed it on.
"""

import hmac
from hashlib import sha256

HEADER = "Lotus-Guard-Probe"
QUERY = "lotus_guard_probe"
"""Where it stands behind a homeserver, which hands on no headers: in the query string."""
FIELD = "io.lotus.guard"
WINDOW = 300.0
"""Seconds that the clocks of the two may differ; generous, for a wrong clock is to be found."""


def sign_probe(secret: str, epoch: float) -> str:
    """Make the header's value for a probe sent at `epoch` (seconds since the epoch)."""
    stamp = str(int(epoch * 1000))
    return f"{stamp}.{_digest(stamp, secret)}"


def is_genuine(value: str, secret: str, epoch: float) -> bool:
    """Whether a probe that arrived at `epoch` was signed with our secret, and lately."""
    stamp, _, digest = value.partition(".")
    if not hmac.compare_digest(digest.encode(errors="replace"), _digest(stamp, secret).encode()):
        return False
    return abs(epoch - int(stamp) / 1000.0) <= WINDOW


def _digest(stamp: str, secret: str) -> str:
    text = f"probe.{stamp}".encode(errors="replace")  # what is in a hostile header must not raise
    return hmac.new(secret.encode(), text, sha256).hexdigest()
