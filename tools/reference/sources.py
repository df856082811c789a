"""What the guard's sources say: which sentence goes out with which status, and what is logged."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).resolve().parents[2] / "lotus_guard"
FORBIDDEN = ("403", "M_FORBIDDEN")
UNFIT = ("400", "M_INVALID_PARAM")
RULES = ("rules/", "enforce/introduction.py")
"""Where each sentence is a rule's refusal."""
LEVELS = {
    "critical": "The guard cannot go on.",
    "error": "Something is broken and needs attention.",
    "warn": "Something is wrong, or may soon be; calls continue.",
    "info": "Normal operation.",
    "debug": "Written only with `LOTUS_GUARD_LOG_LEVEL=debug`.",
}


@frozen
class Answer:
    """A sentence that clients get, by its key or as it stands."""

    key: str
    status: str
    errcode: str


@frozen
class LogLine:
    """A line of the log; `…` is what is filled in."""

    level: str
    text: str
    module: str


@cache
def answers() -> tuple[Answer, ...]:
    """List the answers of the guard's own."""
    return tuple(dict.fromkeys(each for path in _modules() for each in _answers_in(path)))


@cache
def log_lines() -> tuple[LogLine, ...]:
    """List the lines of the log, without those of the sandbox."""
    return tuple(dict.fromkeys(each for path in _modules() for each in _lines_in(path)))


def _modules() -> list[Path]:
    return [path for path in sorted(ROOT.rglob("*.py")) if "sandbox" not in path.parts]


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _answers_in(path: Path) -> Iterator[Answer]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    named = {**_named_anywhere(), **dict(_named_sentences(tree))}
    for call in _calls(tree):
        name, texts = _called(call), _constants(call)
        if name == "Problem" and len(texts) == 2:
            key = _sentence(call.args[2], named)
            if key:
                yield Answer(key, *texts)
        elif name == "Unreadable" and len(texts) == 2:
            yield Answer(texts[1], "413" if texts[0] == "M_TOO_LARGE" else "400", texts[0])
        elif name == "Unfit" and texts:
            yield Answer(texts[0], *UNFIT)
        elif name == "_refused" and len(call.args) > 1 and (key := _sentence(call.args[1], named)):
            yield Answer(key, *FORBIDDEN)
        elif name == "Sentence" and texts and _name(path).startswith(RULES):
            yield Answer(texts[0], *FORBIDDEN)


@cache
def _named_anywhere() -> dict[str, str]:
    """The sentences that have a name somewhere, and so may be imported."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in _modules()]
    return {name: key for tree in trees for name, key in _named_sentences(tree) if name.isupper()}


def _named_sentences(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        if key := _sentence(node.value, {}):
            yield node.targets[0].id, key


def _sentence(node: ast.expr, named: dict[str, str]) -> str:
    """Return the key of a sentence that stands here, or whose name does; else nothing."""
    if isinstance(node, ast.Name):
        return named.get(node.id, "")
    if isinstance(node, ast.Call) and _called(node) == "Sentence":
        return next(iter(_constants(node)), "")
    return ""


def _lines_in(path: Path) -> Iterator[LogLine]:
    for call in _calls(ast.parse(path.read_text(encoding="utf-8"))):
        function = call.func
        if not isinstance(function, ast.Attribute) or not isinstance(function.value, ast.Name):
            continue
        level = {"failure": "error"}.get(function.attr, function.attr)
        if function.value.id == "_log" and level in LEVELS and (texts := _constants(call)):
            yield LogLine(level, re.sub(r"(\{[^}]*\})+", "…", texts[0]), _name(path))


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _constants(call: ast.Call) -> list[str]:
    """List the constants that a call begins with."""
    found = []
    for each in call.args:
        if not isinstance(each, ast.Constant):
            break
        found.append(str(each.value))
    return found
