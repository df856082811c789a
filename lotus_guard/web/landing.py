"""The page at `/` of the public port: what is enforced here, and how a room's rules are set.

Nothing of the guard's inside is on it. `deploy/landing/index.html` is the same page for a web
server to serve; a test keeps the two equal.
"""

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from attrs import frozen


@frozen
class Page:
    """A page and the headers that it needs."""

    headers: dict[bytes, bytes]
    body: bytes


def landing_page() -> Page:
    """Read the page; its one style is allowed by its hash, and nothing else is."""
    body = Path(__file__).with_name("landing.html").read_bytes()
    policy = "; ".join(
        [
            "default-src 'none'",
            f"style-src 'sha256-{_style_hash(body)}'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )
    headers = {
        b"Content-Type": b"text/html; charset=utf-8",
        b"Content-Security-Policy": policy.encode("ascii"),
        b"X-Content-Type-Options": b"nosniff",
        b"Referrer-Policy": b"no-referrer",
        b"Cache-Control": b"public, max-age=300",
    }
    return Page(headers, body)


def _style_hash(body: bytes) -> str:
    style = re.search(rb"<style>(.*?)</style>", body, re.DOTALL)
    assert style is not None, "the page has one style"
    return b64encode(sha256(style[1]).digest()).decode("ascii")
