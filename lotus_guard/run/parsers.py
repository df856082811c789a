"""How the texts of settings are read. Each parser gets a variable's name and text.

It gives the value, or raises Unusable with a line that names the variable, what was found and what
is wanted.
"""

from collections.abc import Callable
from pathlib import Path

from twisted.internet.endpoints import serverFromString

from lotus_guard.core.naming import USUAL_SLOTS
from lotus_guard.core.server_url import EXTRAS, url_fault
from lotus_guard.enforce.credentials import Unusable, fault_line
from lotus_guard.overload.client_address import Network, networks_of
from lotus_guard.words.files import Catalogues, FaultyWords, built_in, with_words_of

MOST_SECONDS = 86400.0


def unusable(name: str, found: str, wanted: str) -> Unusable:
    """A fault of one variable."""
    return Unusable(fault_line(name, found, wanted))


def endpoint(name: str, text: str) -> str:
    """Read a Twisted endpoint to listen on."""
    from twisted.internet import reactor  # its parser wants one; nothing is opened here

    try:
        port = getattr(serverFromString(reactor, text), "_port", 0)
        is_usable = 0 <= int(port) <= 65535
    except Exception:  # its parsers raise whatever they like
        is_usable = False
    if not is_usable:
        raise unusable(name, f"found {text!r}", "a Twisted endpoint such as tcp:8070")
    return text


def endpoint_or_none(name: str, text: str) -> str:
    """Read an endpoint that may be empty."""
    return text and endpoint(name, text)


def url(name: str, text: str, wanted: str = "http://host:port or https://host") -> str:
    """Read the address of a neighbour; without the slash at its end."""
    fault = url_fault(text)
    if not text:
        raise unusable(name, "not set", wanted)
    if fault == EXTRAS:
        raise unusable(name, "the address has a user name, query or fragment in it", wanted)
    if fault:
        # With a user's password in it, it is not for showing.
        raise unusable(name, f"found {'an address' if '@' in text else shown(text)}", wanted)
    return text.rstrip("/")


def url_or_none(name: str, text: str) -> str:
    """Read an address that may be empty."""
    return text and url(name, text)


def number(least: float, unit: str) -> Callable[[str, str], float]:
    """Make a parser of numbers from `least` on."""

    def read(name: str, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if least <= value <= MOST_SECONDS:  # which NaN and infinity are not either
            return value
        raise unusable(name, f"found {shown(text)}", f"{unit} from {least:g} to {MOST_SECONDS:g}")

    return read


def seconds(least: float = 0.0) -> Callable[[str, str], float]:
    """Make a parser of seconds."""
    return number(least, "seconds")


def whole_seconds(name: str, text: str) -> int:
    """Read seconds, without fractions."""
    return int(seconds()(name, text))


def one_of(*allowed: str) -> Callable[[str, str], str]:
    """Make a parser of one of these words."""

    def read(name: str, text: str) -> str:
        if text in allowed:
            return text
        wanted = f"{', '.join(allowed[:-1])} or {allowed[-1]}"
        raise unusable(name, f"found {shown(text)}", wanted)

    return read


def on_or_off(name: str, text: str) -> bool:
    """Read a switch."""
    return one_of("on", "off")(name, text) == "on"


def count(most: int) -> Callable[[str, str], int]:
    """Make a parser of whole numbers from 1 on."""

    def read(name: str, text: str) -> int:
        if text.isdecimal() and 1 <= int(text) <= most:
            return int(text)
        raise unusable(name, f"found {shown(text)}", f"a number from 1 to {most}")

    return read


def networks(name: str, text: str) -> tuple[Network, ...]:
    """Read addresses and networks with commas between them."""
    try:
        return networks_of(text)
    except ValueError as why:
        wanted = (
            "addresses, networks such as 192.0.2.0/24, loopback or private, separated by commas"
        )
        raise unusable(name, f"found {shown(str(why))}", wanted) from None


def prefixes(name: str, text: str) -> tuple[str, ...]:
    """Read how names of slots begin, with commas between them; none of them a call's."""
    found = tuple(sorted(words(name, text)))
    for each in found:
        if any(slot.startswith(each) for slot in USUAL_SLOTS):
            raise unusable(
                name,
                f"found {shown(each)}, which names of calls begin with",
                "a prefix of other slots",
            )
    return found


def words(_name: str, text: str) -> frozenset[str]:
    """Read words with commas between them."""
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def catalogues(name: str, text: str) -> Catalogues:
    """Read what users are told: our own words, and an operator's where there is a directory."""
    try:
        return with_words_of(Path(text)) if text else built_in()
    except FaultyWords as why:
        raise Unusable(*(f"{name}: {fault}" for fault in why.faults)) from None


def shown(text: str) -> str:
    """Quote what was found, not at any length."""
    return repr(text if len(text) <= 60 else text[:60] + "…")
