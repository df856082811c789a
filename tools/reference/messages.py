"""The page of what the guard says: its answers to clients, and the lines of its log."""

import json
from collections.abc import Iterator

from lotus_guard.core.model import Identity
from lotus_guard.core.seats import Occupancy
from lotus_guard.enforce.admission import Refusal
from lotus_guard.rules.limit import Limit, LimitPolicy
from lotus_guard.rules.rule import Facts, Refuse, Who
from lotus_guard.web.problems import Problem, refused, too_many
from lotus_guard.words.files import ENGLISH, built_in
from tools.reference.markdown import cell, code, table
from tools.reference.sources import LEVELS, Answer, answers, log_lines

_HEAD = """\
# Messages

<!-- Written by `make reference` from the code: do not edit. -->

What the guard says: its answers to clients, and the lines of its log. For what to do about one of
them, search [Troubleshooting](troubleshooting.md) for its words.

## Answers to clients

Each is a Matrix error: JSON with `errcode` and `error`, and with CORS headers, so that a browser
shows it to the client. A refusal also names its decision, in `io.lotus.decision` and in the header
`Lotus-Guard-Decision`; `lotus-guard explain` looks it up. The sentences are the English ones;
[Words and languages](words.md) says how others are chosen. Any other answer is lk-jwt-service's
own.

"""
_BODIES = """
## What an answer holds

Two bodies, as the guard writes them. Clients can read `io.lotus.limit` to say more than the
sentence does.

"""
_LOG = """
## The log

`…` stands for what is filled in, such as a room. With `LOTUS_GUARD_LOG_FORMAT=json` the same text
is in a JSON object. What the guard decides about a person is a line too: see
[Decisions in the log](troubleshooting.md#decisions-in-the-log).

"""
_PAGES = ("landing_", "example_")
"""The keys of texts that are on a page and in no answer."""


def messages_page() -> str:
    """Write the page."""
    return _HEAD + _answers() + _BODIES + _bodies() + _LOG + "\n".join(_log_sections())


def texts() -> dict[str, str]:
    """List the sentences of answers by key, as they are in English; parts are filled in."""
    found = {
        key: text if isinstance(text, str) else text["other"]
        for key, text in built_in()[ENGLISH].texts.items()
        if not key.startswith(_PAGES)
    }
    whole = {key: _with_parts(key, text, found) for key, text in found.items()}
    return {key: text for key, text in whole.items() if not _is_part(key, found)}


def unplaced() -> set[str]:
    """List the sentences of which the code does not say with which status they go out."""
    return {key for key in texts() if not any(each.key == key for each in answers())}


def _with_parts(key: str, text: str, found: dict[str, str]) -> str:
    for part in found:
        if part.startswith(f"{key}_"):
            text = text.replace(f"{{{part.removeprefix(f'{key}_')}}}", found[part])
    return text


def _is_part(key: str, found: dict[str, str]) -> bool:
    return key == "reference" or any(key.startswith(f"{each}_") for each in found)


def _answers() -> str:
    said = texts()
    placed = [*answers(), *(Answer(key, "", "") for key in sorted(unplaced()))]
    rows = [
        (each.status, code(each.errcode), _blanks(said.get(each.key, each.key)), _key(each, said))
        for each in sorted(placed, key=lambda each: (each.status, each.errcode))
        if each.key in said or " " in each.key
    ]
    return table(("status", "`errcode`", "`error`", "key"), rows)


def _key(answer: Answer, said: dict[str, str]) -> str:
    return code(answer.key) if answer.key in said else "–"


def _blanks(text: str) -> str:
    """Write a sentence with `…` for each field."""
    for piece in text.split("{")[1:]:
        text = text.replace(f"{{{piece.partition('}')[0]}}}", "…")
    return cell(text.replace("`…`", "…").replace("….", "…"))


def _bodies() -> str:
    who, seen = Who("@carol:example.org", Identity("identity")), Occupancy(5, 5, False)
    full = Limit().judge(LimitPolicy(5), who, Facts(seen))
    if not isinstance(full, Refuse):
        raise TypeError(full)
    rows = [
        ("A call for five is full", _body(refused(Refusal(full, "k3v9t2xq")))),
        ("One address asks for too much", _body(too_many())),
    ]
    return table(("when", "body"), rows)


def _body(problem: Problem) -> str:
    return code(json.dumps(json.loads(problem.body(built_in()[ENGLISH]))))


def _log_sections() -> Iterator[str]:
    found = log_lines()
    for level, meaning in LEVELS.items():
        rows = sorted(
            {(code(each.text), code(each.module)) for each in found if each.level == level}
        )
        if rows:
            yield f"### {level.capitalize()}\n\n{meaning}\n\n{table(('line', 'from'), rows)}"
