"""The landing page: the same everywhere, self-contained, silent about the guard's inside."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
import pytest_twisted

from lotus_guard.core.sentence import Catalogue, Sentence
from lotus_guard.rules import RULES
from lotus_guard.sandbox.stack import OPEN
from lotus_guard.web.landing import landing_page
from tests.quiet_hours import QuietHours
from tests.recorder import raw
from tests.saying import ENGLISH, GERMAN
from tests.world import World, token_request

PAGE = landing_page(RULES, ENGLISH)


class Outline(HTMLParser):
    """What a page refers to, and its headings."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("path", ["/", "/?x=1"])
async def test_the_page_is_at_the_root(world: World, path: str) -> None:
    world.start_guard()
    got = await world.request("GET", path)
    assert (got.status, got.body) == (200, PAGE.body)
    assert got.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "Server" not in got.headers
    head = await world.request("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(PAGE.body))


@pytest_twisted.ensureDeferred
async def test_who_asks_for_the_page_with_too_long_a_body_hears_so(world: World) -> None:
    world.start_guard()
    got = await world.request("GET", "/", body=b"x" * (64 * 1024 + 1))
    assert got.status == 413


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("target", [b"http://h", b"http://h/", b"/;", b"/?"])
async def test_what_upstream_would_get_decides(world: World, target: bytes) -> None:
    world.start_guard()
    answer = await raw(world, b"GET %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" % target)
    assert answer.endswith(PAGE.body)


@pytest_twisted.ensureDeferred
async def test_no_token_comes_by_way_of_the_page(world: World) -> None:
    """A request for a token in the body of a GET gets the page; upstream is not even asked."""
    world.start_guard()
    got = await world.request("GET", "/", token_request("alice", OPEN))
    assert (got.status, got.body) == (200, PAGE.body)
    assert world.sandbox.sfu.rooms == {}


@pytest_twisted.ensureDeferred
async def test_the_headers_that_protect_the_page_are_sent(world: World) -> None:
    world.start_guard()
    headers = (await world.request("GET", "/")).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    policy = headers["Content-Security-Policy"]
    for directive in ("default-src", "base-uri", "form-action", "frame-ancestors"):
        assert f"{directive} 'none'" in policy.split("; ")


@pytest_twisted.ensureDeferred
async def test_nothing_else_changes(world: World) -> None:
    world.start_guard()
    upstream = world.sandbox.addresses.authorization
    for method, path in (("POST", "/"), ("OPTIONS", "/"), ("GET", "/index.html"), ("GET", "//")):
        ours = await world.request(method, path, b"{}" if method == "POST" else b"")
        theirs = await world.request(
            method, path, b"{}" if method == "POST" else b"", base=upstream
        )
        assert (ours.status, ours.body) == (theirs.status, theirs.body), (method, path)
    assert (await world.request("POST", "/sfu/get", token_request("alice", OPEN))).status == 200


@pytest_twisted.ensureDeferred
async def test_the_page_is_there_while_upstream_is_not(world: World) -> None:
    world.start_guard(LOTUS_GUARD_UPSTREAM=world.serve(abort=True))
    assert (await world.request("GET", "/")).status == 200


@pytest_twisted.ensureDeferred
async def test_it_is_in_the_language_of_who_asks(world: World) -> None:
    world.start_guard()
    german = landing_page(RULES, GERMAN)
    got = await world.request("GET", "/", headers={"Accept-Language": "de-AT,en;q=0.5"})
    assert got.body == german.body
    assert got.headers["Content-Language"] == "de"
    for headers in ({}, {"Accept-Language": "de"}, {"Accept-Language": "fr"}):
        answer = await world.request("GET", "/", headers=headers)
        assert answer.headers["Vary"] == "Accept-Language", "a cache keeps them apart"
    assert answer.headers["Content-Language"] == "en"


@pytest.mark.parametrize("words", [ENGLISH, GERMAN], ids=lambda words: words.language)
def test_each_language_has_the_whole_page(words: Catalogue) -> None:
    page = landing_page(RULES, words).body.decode()
    assert f'<html lang="{words.language}">' in page
    assert re.findall(r"landing_\w+|example_\w+|\{[a-z_]+\}|\*\*|`", page) == []
    assert page.count("<strong>") == 4
    assert "<code>{}</code>" in page
    outline = Outline()
    outline.feed(page)
    english = Outline()
    english.feed(PAGE.body.decode())
    assert outline.tags == english.tags


def test_words_are_no_html() -> None:
    words = Catalogue("x", {"landing_title": "<script>a & b</script> **<i>**"}, ENGLISH)
    page = landing_page(RULES, words).body.decode()
    assert "<title>&lt;script&gt;a &amp; b&lt;/script&gt; " in page
    assert "<strong>&lt;i&gt;</strong>" in page
    assert "<script" not in page


def test_what_is_quoted_from_a_refusal_is_what_it_says() -> None:
    """It begins with the words that the page quotes."""
    for words, quoted in ((ENGLISH, r"“([^”]+)”"), (GERMAN, r"„([^“]+)“")):
        (found,) = re.findall(quoted, words.say(Sentence("landing_full")))
        assert words.say(Sentence("call_full", {"people": "2"})).startswith(found)


@pytest_twisted.ensureDeferred
async def test_it_leads_to_the_panel_where_that_is_on(world: World) -> None:
    world.start_guard(LOTUS_GUARD_PANEL="off")
    got = await world.request("GET", "/")
    assert got.body == landing_page(RULES, ENGLISH, has_panel=False).body
    assert b"panel" not in got.body
    assert PAGE.body.count(b'<a href="panel/">') == 1


def test_every_rule_is_on_it() -> None:
    for rule in RULES:
        content = json.dumps(rule.examples[0].content)
        assert f"<pre><code>{rule.event}\n{content}</code></pre>" in PAGE.body.decode()
    assert b"{rules}" not in PAGE.body


def test_its_words_hold_for_any_number_of_rules() -> None:
    text = re.sub(r"\s+", " ", landing_page((*RULES, QuietHours()), ENGLISH).body.decode())
    assert QuietHours.event in text
    assert re.search(r"\b(one|two|both|three)\b( of the)? (rules|entries)", text) is None


def test_the_page_needs_nothing_and_runs_nothing() -> None:
    outline = Outline()
    outline.feed(PAGE.body.decode())
    assert not {"script", "link", "img", "iframe", "form"} & set(outline.tags)
    assert not {name for name in outline.attributes if name.startswith("on")}
    assert not {"src", "style"} & outline.attributes
    assert re.findall(r'href="([^"]*)"', PAGE.body.decode()) == ["panel/"]
    assert b"url(" not in PAGE.body
    assert outline.tags.count("h1") == 1
    assert len(PAGE.body) < 12_000


def test_the_policy_allows_the_style_by_its_hash_alone() -> None:
    style = re.findall(r"<style>(.*?)</style>", PAGE.body.decode(), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
    policy = PAGE.headers[b"Content-Security-Policy"].decode()
    assert len(style) == 1
    assert f"style-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy


def test_the_page_says_what_it_must_and_nothing_of_the_inside() -> None:
    text = re.sub(r"\s+", " ", PAGE.body.decode())
    for wanted in (
        "enforced by the server, for every client",
        "Lotus Chat",
        "io.lotus.voice_limit",
        "io.lotus.room_quality",
        "/devtools",
        "curl",
        "This call is full",
        "OPEN_ID_ERROR",
        "Technical details",
        "lotus-guard explain k3v2t2xq",
        "Bitrate and frame rate",
        "calls continue without it",
    ):
        assert wanted in text, wanted
    for inside in ("lotus_guard", "lk-jwt", "Twisted", "127.0.0.1", "8070", "LiveKit", "0.1"):
        assert inside not in text, inside
