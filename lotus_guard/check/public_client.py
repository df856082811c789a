"""For whom the guard takes a client who comes by the public address, and whether they can lie.

What is sent names another address in X-Real-IP and X-Forwarded-For, and the guard says what arrived
of it (`core.probe`). What stands right of that lie in X-Forwarded-For, proxies have written: first
the one that sent it, which is us as the first proxy saw us, then each further proxy.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen

from lotus_guard.check.context import CheckContext
from lotus_guard.check.finding import Finding, note, ok, warning
from lotus_guard.overload.client_address import UNCLEAR, Origins, networks_of
from lotus_guard.run.address import listening

CLIENT = "public-client"
FAKE = "192.0.2.77"
"""An address for documentation (RFC 5737): no client's."""
LIES = {"X-Real-IP": FAKE, "X-Forwarded-For": FAKE}
NAME_THEM = (
    "let the proxy set X-Real-IP or X-Forwarded-For to the address that connects (nginx: "
    "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; HAProxy: option forwardfor)"
)
APPEND = (
    "let each proxy append to X-Forwarded-For (nginx: proxy_set_header X-Forwarded-For "
    "$proxy_add_x_forwarded_for;), and no inner one set X-Real-IP to something else"
)
TRUSTED = "LOTUS_GUARD_TRUSTED_PROXIES"


@frozen
class Arrival:
    """How a lie came to the guard."""

    client: str
    """For whom the guard took us."""
    is_crowd: bool
    peer: str
    real: tuple[str, ...]
    forwarded: tuple[str, ...]

    @property
    def written(self) -> tuple[str, ...]:
        """What proxies wrote into X-Forwarded-For."""
        if FAKE not in self.forwarded:
            return self.forwarded
        return self.forwarded[len(self.forwarded) - self.forwarded[::-1].index(FAKE) :]

    @property
    def has_names(self) -> bool:
        """Whether a proxy has written anything at all."""
        return bool(self.written) or bool(set(self.real) - {FAKE})


def read_arrival(echo: Mapping[str, Any]) -> Arrival | None:
    """Read what a guard says of a probe; None where it is an older one that does not say so."""
    real, forwarded = echo.get("real"), echo.get("forwarded")
    if not isinstance(real, list) or not isinstance(forwarded, list):
        return None
    return Arrival(
        str(echo.get("client")),
        bool(echo.get("crowd")),
        str(echo.get("peer")),
        tuple(map(str, real)),
        tuple(map(str, forwarded)),
    )


def judge_client(context: CheckContext, echo: Mapping[str, Any]) -> Finding:
    """Judge whom the guard takes for whom."""
    arrival = read_arrival(echo)
    if arrival is None:
        return note(CLIENT, "not checked: an older guard is running", "restart the guard")
    return _Judge(context, arrival).finding()


@frozen
class _Judge:
    context: CheckContext
    arrival: Arrival
    origins: Origins = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "origins", Origins(self.context.config.trusted_proxies))

    def finding(self) -> Finding:
        """Go from the proxy next to the guard outwards."""
        if not self.origins.is_proxy(self.arrival.peer or None):
            return self._by_an_unknown_peer()
        proxies = [each for each in self.arrival.written[1:] if each != UNCLEAR]
        unknown = [each for each in proxies if not self.origins.is_proxy(each)]
        if unknown:
            seen = (
                f"{len(self.arrival.written)} proxies in a row, and {unknown[-1]} is not in "
                f"{TRUSTED}: all clients behind it count as one"
            )
            return warning(CLIENT, seen, self._trust(unknown))
        return self._by_trusted_proxies()

    def _by_an_unknown_peer(self) -> Finding:
        if not self.arrival.has_names and self._is_direct():
            return ok(CLIENT, "no proxy is in front of the guard: it sees clients' own addresses")
        peer = self.arrival.peer
        seen = f"the proxy at {peer} is not in {TRUSTED}: all clients behind it count as one"
        return warning(CLIENT, seen, self._trust([peer]))

    def _by_trusted_proxies(self) -> Finding:
        arrival = self.arrival
        if arrival.is_crowd:
            seen = "the proxy does not name its clients: they all share one rate limit"
            return warning(CLIENT, seen, NAME_THEM)
        if not arrival.has_names:
            seen = (
                "a client can pass for any other: X-Real-IP and X-Forwarded-For arrive as the "
                "client sent them"
            )
            return warning(CLIENT, seen, NAME_THEM)
        if self._is_contradicted():
            seen = "X-Real-IP and X-Forwarded-For differ, or name nobody: all clients count as one"
            return warning(CLIENT, seen, APPEND)
        if self._is_overwritten():
            seen = (
                f"to the guard this check comes from {self._as_seen()}, which is not one of this "
                "machine's addresses: if it is a proxy's, the inner proxy overwrites what the "
                "outer one wrote, and all clients count as one"
            )
            return warning(CLIENT, seen, APPEND)
        return ok(CLIENT, f"the proxy names the client ({self._as_seen()})")

    def _is_contradicted(self) -> bool:
        """Whether the proxies contradict each other; what a client sends does no harm."""
        real, written = set(self.arrival.real[-1:]) - {FAKE}, set(self.arrival.written)
        return UNCLEAR in real | written or bool(real and written and not real & written)

    def _is_overwritten(self) -> bool:
        """Whether nothing is left of a client: a proxy alone is named, and no lie survived."""
        seen = self._as_seen()
        if FAKE in self.arrival.forwarded or not self.origins.is_proxy(seen):
            return False
        return seen not in (*self.context.addresses, "127.0.0.1", "::1")

    def _is_direct(self) -> bool:
        """Whether the public address is the guard's own port."""
        own = listening(self.context.config.listen)
        parts = urlsplit(self.context.options.public_url)
        return own is None or (parts.scheme == "http" and (parts.port or 80) == own.port)

    def _as_seen(self) -> str:
        """Our own address as the first proxy saw it, as far as its word has come here."""
        names = [*self.arrival.written, *(each for each in self.arrival.real if each != FAKE)]
        return names[0] if names else self.arrival.client

    def _trust(self, addresses: list[str]) -> str:
        networks = self.context.config.trusted_proxies
        is_default = networks == networks_of("loopback,private")
        written = [str(each).removesuffix(f"/{each.max_prefixlen}") for each in networks]
        there = ["loopback", "private"] if is_default else written
        return f"{TRUSTED}={','.join(dict.fromkeys([*there, *addresses]))}"
