"""The page at `/` of the public port: what is enforced here, and how a room's rules are set.

Nothing of the guard's inside is on it.
"""

import json
import re
from base64 import b64encode
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any

from attrs import frozen

from lotus_guard.rules import Rules
from lotus_guard.rules.rule import Rule


@frozen
class Page:
    """A page and the headers that it needs."""

    headers: dict[bytes, bytes]
    body: bytes


def landing_page(rules: Rules) -> Page:
    """Make the page; its one style is allowed by its hash, and nothing else is."""
    text = Path(__file__).with_name("landing.html").read_text(encoding="utf-8")
    body = text.replace("{rules}", "\n".join(map(_example, rules))).encode()
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


def _example(rule: Rule[Any]) -> str:
    """The most common use of a rule."""
    example = rule.examples[0]
    event = f"{rule.event}\n{json.dumps(dict(example.content))}"
    return f"<p>{escape(example.title)}:</p>\n<pre><code>{escape(event, quote=False)}</code></pre>"


def _style_hash(body: bytes) -> str:
    style = re.search(rb"<style>(.*?)</style>", body, re.DOTALL)
    assert style is not None, "the page has one style"
    return b64encode(sha256(style[1]).digest()).decode("ascii")
