"""Whether a text is the URL of a server that can be asked, and if not, what is wrong with it.

Our module in Synapse's process uses it too: it needs nothing but Python.
"""

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
MOST_NAME = 253
"""Characters of a host name; RFC 1035 has it so, and 63 for each label."""

EXTRAS = "has a user name, a query or a fragment in it"


def is_host(text: str) -> bool:
    """Whether a text is a host name without empty labels, or an IP address."""
    if ":" in text:  # urlsplit takes the brackets off
        try:
            return ip_address(text).version == 6
        except ValueError:
            return False
    return len(text) <= MOST_NAME and _NAME.fullmatch(text) is not None


def url_fault(url: str) -> str:
    """What is wrong with an http or https URL of a server; empty where it can be asked."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  (raises ValueError for a port that is none)
    except ValueError:
        return "has a host or port that is not valid"
    if parts.scheme not in ("http", "https"):
        return "does not begin with https:// or http://"
    if not url.isascii() or not url.isprintable() or " " in url:
        return "contains characters that no URL has (write an international host name as xn--…)"
    if not is_host(parts.hostname or ""):
        return f"has no valid host: {parts.hostname!r}" if parts.hostname else "has no host"
    if parts.query or parts.fragment or parts.username or parts.password:
        return EXTRAS
    return ""
