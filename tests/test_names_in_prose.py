"""The modules, functions and files that comments, docstrings and pages name are there."""

import ast
import importlib
import importlib.util
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("lotus_guard", "tests", "bench", "deploy/lib")
READ = (*OURS, "deploy", "docs", "systemd", "twisted", ".ci")
SUFFIXES = {
    ".py",
    ".md",
    ".js",
    ".css",
    ".html",
    ".yml",
    ".yaml",
    ".sample",
    ".service",
    ".conf",
    "",
}
FILE = re.compile(r"(?<![\w./-])((?:\w+/)*\w+\.py)\b")
DOTTED = re.compile(r"(?:(?<=`)[A-Za-z_]\w*|\blotus_guard)(?:\.\w+)+\b(?![/-])")
"""A dotted name in backticks; `lotus_guard.…` anywhere."""
OTHERS = {
    "body.is_whole",
    "request.uri",
    # Other programs' settings, files and functions.
    "builtins.fetchGit",
    "forwardedHeaders.trustedIPs",
    "json.Marshal",
    "limit.max_metadata_size",
    "matrixRTC",
    "room.auto_create",
    "services.livekit",
    "webhook.api_key",
    "webhook.urls",
    # Types of events, hosts, addresses.
    "call.example.org",
    "io.lotus",
    "io.element",
    "lotus_guard.git",
    "m.call",
    "m.room",
    "org.matrix",
    "predecessor.room_id",
    "unsigned.age",
}
"""Dotted names that are not ours, or are a value's field; one that is not met goes from here."""
FILES = {"conf", "dpkg", "go", "js", "json", "md", "py", "sqlite", "toml", "typed", "yaml", "yml"}
"""What a dotted name ends with that is a file's."""


def texts() -> Iterator[tuple[Path, str]]:
    files = [ROOT / name for name in ("README.md", "CHANGELOG.md", "Makefile", "setup.py")]
    for directory in READ:
        files += [path for path in (ROOT / directory).rglob("*") if path.suffix in SUFFIXES]
    for path in sorted({each for each in files if each.is_file()}):
        if "__pycache__" not in path.parts and path != Path(__file__):
            text = path.read_text(encoding="utf-8", errors="replace")
            yield path, prose(text) if path.suffix == ".py" else text


def prose(source: str) -> str:
    """The comments and docstrings of a module, attributes' as well."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return "\n".join(
        token.string
        for token in tokens
        if token.type == tokenize.COMMENT
        or (token.type == tokenize.STRING and token.line.lstrip().startswith('"""'))
    )


def dotted_names(text: str) -> Iterable[str]:
    names = (found[0] for found in DOTTED.finditer(text))
    return {name for name in names if name.rpartition(".")[2] not in FILES}


@cache
def modules() -> dict[str, frozenset[str]]:
    """Each module and package of ours, by its dotted name, and what it defines."""
    found = {}
    for directory in OURS:
        for path in (ROOT / directory).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            found[".".join(parts)] = frozenset(defined(ast.parse(path.read_text()).body))
    return found


def defined(body: Iterable[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                yield from (each.id for each in ast.walk(target) if isinstance(each, ast.Name))


@cache
def classes() -> dict[str, frozenset[str]]:
    """Each class of ours and what it defines; of those with one name, what any of them does."""
    found: dict[str, frozenset[str]] = {}
    for directory in OURS:
        for path in (ROOT / directory).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    has = frozenset(defined(node.body))
                    found[node.name] = found.get(node.name, frozenset()) | has
    return found


def is_there(name: str) -> bool:
    parts = name.split(".")
    if parts[0] in classes():
        return parts[1] in classes()[parts[0]]
    for count in range(len(parts), 0, -1):
        tail, rest = "." + ".".join(parts[:count]), parts[count:]
        has = [defines for each, defines in modules().items() if f".{each}".endswith(tail)]
        if has and (not rest or any(rest[0] in defines for defines in has)):
            return True
    return is_a_librarys(parts[0], parts[1])


def is_a_librarys(module: str, name: str) -> bool:
    if importlib.util.find_spec(module) is None:
        return False
    found = importlib.import_module(module)
    is_package = hasattr(found, "__path__")
    return hasattr(found, name) or (
        is_package and importlib.util.find_spec(f"{module}.{name}") is not None
    )


def test_names_in_prose_are_there() -> None:
    lost = [
        (str(path.relative_to(ROOT)), name)
        for path, text in texts()
        for name in dotted_names(text)
        if not is_there(name) and not any(f"{name}.".startswith(f"{each}.") for each in OTHERS)
    ]
    assert lost == []


def test_files_in_prose_are_there() -> None:
    lost, count = [], 0
    for path, text in texts():
        places = (ROOT, ROOT / "lotus_guard", ROOT / "tests", ROOT / "deploy/lib", path.parent)
        named = {found[1] for found in FILE.finditer(text)}
        count += len(named)
        lost += [
            (str(path.relative_to(ROOT)), name)
            for name in named
            if not any((p / name).exists() for p in places)
        ]
    assert lost == []
    assert count > 100


def test_no_exception_is_too_many() -> None:
    met = {name for _, text in texts() for name in dotted_names(text)}
    lost = {name for name in met if not is_there(name)}
    assert [each for each in OTHERS if not any(f"{n}.".startswith(f"{each}.") for n in lost)] == []


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("core.narrow", True),
        ("lotus_guard.rules", True),
        ("narrow.narrow", True),
        ("load_shedding.TOKENS", True),
        ("Rule.judge", True),
        ("urllib.request", True),
        ("http.server", True),
        ("http.no_such", False),
        ("core.plan", False),
        ("load_shedding.TOKEN", False),
        ("pressure.TOKENS", False),
        ("adapters.http", False),
        ("Rule.judges", False),
    ],
)
def test_how_names_are_looked_up(name: str, found: bool) -> None:
    assert is_there(name) is found
