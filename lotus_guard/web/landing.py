"""The page at `/` of the public port: what is enforced here, and how a room's rules are set.

Nothing of the guard's inside is on it. Its words are the catalogue's, where `**…**` marks what is
strong, and backticks what is typed or read literally; there is no HTML in them.
"""

import json
import re
from base64 import b64encode
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any

from attrs import frozen

from lotus_guard.core.sentence import Catalogue, Sentence
from lotus_guard.rules import Rules
from lotus_guard.rules.rule import Rule
from lotus_guard.words.files import Catalogues

_STRONG, _CODE = re.compile(r"\*\*(.+?)\*\*"), re.compile(r"`(.+?)`")
_PLACE = re.compile(r"\{([a-z_]+)\}")


@frozen
class Page:
    """A page and the headers that it needs."""

    headers: dict[bytes, bytes]
    body: bytes


def landing_pages(rules: Rules, catalogues: Catalogues, has_panel: bool) -> dict[str, Page]:
    """Make the page in each language."""
    return {words.language: landing_page(rules, words, has_panel) for words in catalogues.values()}


def landing_page(rules: Rules, words: Catalogue, has_panel: bool = True) -> Page:
    """Make the page; its one style is allowed by its hash, and nothing else is."""
    text = Path(__file__).with_name("landing.html").read_text(encoding="utf-8")
    filled_in = {
        "language": words.language,
        "panel": _panel_link(words) if has_panel else "",
        "rules": "\n".join(_example(rule, words) for rule in rules),
    }
    body = _PLACE.sub(
        lambda place: filled_in[place[1]] if place[1] in filled_in else _said(place[1], words), text
    ).encode()
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
        b"Content-Language": words.language.encode("ascii"),
        b"Vary": b"Accept-Language",
        b"Content-Security-Policy": policy.encode("ascii"),
        b"X-Content-Type-Options": b"nosniff",
        b"Referrer-Policy": b"no-referrer",
        b"Cache-Control": b"public, max-age=300",
    }
    return Page(headers, body)


def _panel_link(words: Catalogue) -> str:
    """The way to the panel, below whatever prefix this page is."""
    return f'<p><a href="panel/">{_marked(words.say(Sentence("landing_panel")))}</a></p>\n'


def _said(key: str, words: Catalogue) -> str:
    """What the catalogue has for a key, as HTML."""
    return _marked(words.say(Sentence(key)))


def _marked(said: str) -> str:
    text = escape(said, quote=False)
    return _CODE.sub(r"<code>\1</code>", _STRONG.sub(r"<strong>\1</strong>", text))


def _example(rule: Rule[Any], words: Catalogue) -> str:
    """The most common use of a rule."""
    example = rule.examples[0]
    event = f"{rule.event}\n{json.dumps(dict(example.content))}"
    title = _said(example.title, words)
    return f"<p>{title}:</p>\n<pre><code>{escape(event, quote=False)}</code></pre>"


def _style_hash(body: bytes) -> str:
    style = re.search(rb"<style>(.*?)</style>", body, re.DOTALL)
    assert style is not None, "the page has one style"
    return b64encode(sha256(style[1]).digest()).decode("ascii")
