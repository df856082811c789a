"""The files of the panel: what they are, and what they may do."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
import pytest_twisted

from lotus_guard.rules import RULES, STANDING
from lotus_guard.rules.decision import Deed
from lotus_guard.rules.giving import GIVING
from lotus_guard.rules.limit import Limit
from lotus_guard.web.panel import files
from lotus_guard.web.panel.files import HOME, INDEX, LANGUAGES, PATHS, POLICY, SCRIPTS, TYPES
from tests.world import World

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(files.__file__).parent
MARKUP = (HERE / INDEX).read_text()
CODE = {name: (HERE / name).read_text() for name in SCRIPTS}
MOST_LINES = 300
MOST_BYTES = 80_000
KINDS = ("not_started", "too_many", "for_data", "curbed", "failed", *map(str, Deed))


def texts(language: str) -> dict[str, str]:
    made: dict[str, str] = json.loads((HERE / "texts" / f"{language}.json").read_text())
    return made


def test_all_files_are_served_and_no_others() -> None:
    there = {str(path.relative_to(HERE)) for path in HERE.rglob("*") if path.is_file()}
    assert {name for name in there if not name.endswith((".py", ".pyc"))} == set(TYPES)


def test_they_are_few_bytes_and_short() -> None:
    assert sum((HERE / name).stat().st_size for name in TYPES) < MOST_BYTES
    assert [name for name, code in CODE.items() if len(code.splitlines()) > MOST_LINES] == []


def test_each_language_has_the_same_texts_with_the_same_fields() -> None:
    def shape(language: str) -> dict[str, set[str]]:
        return {k: set(re.findall(r"\{\w+\}", text)) for k, text in texts(language).items()}

    for language in LANGUAGES:
        assert shape(language) == shape("en"), language
        assert all(texts(language).values())
        assert list(texts(language)) == list(texts("en"))


def test_each_text_that_is_named_is_there() -> None:
    known = set(texts("en"))
    named = set(re.findall(r'data-(?:text|label)="([^"]+)"', MARKUP))
    for code in CODE.values():
        named |= set(re.findall(r'(?:\bt|this\._t|panel\._t|status)\(\s*"([a-z.-]+)"', code))
        named |= {f"trouble.{kind}" for kind in re.findall(r'new Trouble\("([a-z-]+)"', code)}
    lost = {key for key in named if key not in known and f"{key}.other" not in known}
    assert lost == set()
    assert len(named) > 50


def test_each_kind_of_trouble_has_a_sentence() -> None:
    known = set(texts("en"))
    for why in ("unvouched", "outside", "powerless", "away"):
        assert f"trouble.guard-{why}" in known
    kinds = re.findall(r'\d+: "([a-z-]+)"', CODE["trouble.js"])
    assert {f"trouble.{kind}" for kind in [*kinds, "server", "unexpected"]} <= known


def test_each_rule_has_a_sentence_for_what_it_does() -> None:
    """What has none falls back to words that are false of a rule that gives."""
    known = set(texts("en"))
    wanted = {f"did.step.{rule.name}" for rule in RULES} | {f"did.step.{GIVING}"}
    wanted |= {f"did.refused.{rule.name}" for rule in (*STANDING, Limit())}
    wanted |= {f"did.changed.{rule.name}" for rule in RULES if rule.name != Limit.name}
    wanted |= {f"did.{kind}" for kind in KINDS}
    assert wanted - known == set()


def test_nothing_becomes_markup_and_nothing_is_kept() -> None:
    for name, code in CODE.items():
        for word in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval("):
            assert word not in code, name
        for word in ("localStorage", "sessionStorage", "cookie", "indexedDB"):
            assert word not in code, name
    assert not re.search(r"<style|\bstyle=|\bon\w+=|<script(?![^>]*\bsrc=)", MARKUP)
    assert "'unsafe" not in POLICY


def test_the_policy_lets_the_page_call_homeservers_and_load_nothing_else() -> None:
    rules = dict(rule.split(" ", 1) for rule in POLICY.split("; "))
    assert rules.pop("connect-src") == "'self' https: http://localhost:* http://127.0.0.1:*"
    assert rules == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }, "no frame-ancestors: a desktop client frames it under a scheme that `*` does not stand for"


@pytest_twisted.ensureDeferred
async def test_each_file_comes_with_its_type_and_the_policy(world: World) -> None:
    world.start_guard()
    for path in PATHS:
        got = await world.request("GET", path)
        name = path.removeprefix(HOME) or INDEX
        assert (got.status, got.body) == (200, (HERE / name).read_bytes())
        assert got.headers["Content-Type"] == TYPES[name].decode()
        assert got.headers["Content-Security-Policy"] == POLICY
        assert got.headers["X-Content-Type-Options"] == "nosniff"
        assert got.headers["Referrer-Policy"] == "no-referrer"
        assert "Set-Cookie" not in got.headers
        head = await world.request("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert head.headers["Content-Length"] == str(len(got.body))
        tag = got.headers["ETag"]
        again = await world.request("GET", path, headers={"If-None-Match": f'W/{tag}, "x"'})
        assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
        other = await world.request("GET", path, headers={"If-None-Match": '"x"'})
        assert other.status == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/panel/../setup.py", "/panel/%2e%2e/public.py", "/panel/files.py", "/panel/__init__.py"),
        *("/panel/texts/", "/panel/texts/../files.py", "/panel/texts/fr.json", "/panel/page.js/"),
        *("/panel/index.html%00", "/PANEL/", "/panel/room", "/panel//etc/passwd"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_no_path_leads_anywhere_else(world: World, path: str) -> None:
    world.start_guard()
    got = await world.request("GET", path)
    assert got.status in (301, 307, 404, 405)
    assert "Content-Security-Policy" not in got.headers


@pytest_twisted.ensureDeferred
async def test_a_missing_slash_is_added_below_any_prefix(world: World) -> None:
    world.start_guard()
    got = await world.request("GET", "/panel")
    assert (got.status, got.headers["Location"]) == (308, "panel/")


@pytest_twisted.ensureDeferred
async def test_it_can_be_switched_off(world: World) -> None:
    world.start_guard(LOTUS_GUARD_PANEL="off")
    for method, path in (("GET", "/panel/"), ("GET", "/panel/page.js"), ("POST", "/panel/room")):
        got: Any = await world.request(method, path, b"{}" if method == "POST" else b"")
        assert got.status == 404, path


def test_what_the_documentation_says_to_write_is_what_is_read() -> None:
    page = (ROOT / "docs" / "panel.md").read_text()
    (command,) = re.findall(r"^/addwidget (\S+)$", page, re.MULTILINE)
    told = {name for name, _ in parse_qsl(command.partition("#?")[2])}
    read = set(re.findall(r'parameter\("(\w+)"\)', CODE["page.js"]))
    assert told == read - {"widgetId", "roomId"}, "which clients say by themselves"
    (line,) = re.findall(r'^(<meta name="[\w-]+") content="https.*">$', page, re.MULTILINE)
    assert line in MARKUP
    assert line.removeprefix("<").replace(" ", "[") in CODE["guard.js"]
