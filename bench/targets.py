"""What was promised, and whether a run kept it: met or missed, and by how much."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.tables import markdown

Row = Mapping[str, Any]

RIVALS = ("threaded", "threaded, kept alive")
GUARDS = ("ours", "ours, hinted")
YARDSTICK, SHARE = "klein + treq", 0.40 / 0.595
"""Where the target of 0.40 ms was set, a plain proxy of Klein and treq cost 0.55–0.64 ms."""


def at_most(what: str, found: float | None, wanted: float, unit: str = "") -> dict[str, Any]:
    """Judge a figure that must not be above another."""
    return _judged(what, found, wanted, unit, lambda: (wanted - (found or 0.0)) / wanted, "≤")


def at_least(what: str, found: float | None, wanted: float, unit: str = "") -> dict[str, Any]:
    """Judge a figure that must not be below another."""
    return _judged(what, found, wanted, unit, lambda: ((found or 0.0) - wanted) / wanted, "≥")


def _judged(
    what: str, found: float | None, wanted: float, unit: str, margin: Any, sign: str
) -> dict[str, Any]:
    judged: dict[str, Any] = {"what": what, "wanted": f"{sign} {wanted:g}{unit}", "found": found}
    if found is None:
        return {**judged, "met": None, "verdict": "not measured"}
    spare = margin()
    met = spare >= 0.0
    verdict = f"{'met' if met else 'MISSED'} by {abs(spare):.0%}"
    return {**judged, "unit": unit, "met": met, "verdict": verdict}


def shown(judged: Iterable[Mapping[str, Any]]) -> str:
    """Write them as Markdown."""
    rows = []
    for each in judged:
        found = "–" if each["found"] is None else f"{each['found']:.3g}{each.get('unit', '')}"
        rows.append((each["what"], each["wanted"], found, each["verdict"]))
    return markdown(("target", "wanted", "found", ""), rows) + "\n"


def token_path(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Judge the token path by the rows of all rounds."""
    found = []
    for guard in GUARDS:
        for rival in RIVALS:
            found += _against(rows, guard, rival)
        found += _alone(rows, guard)
    for rival in RIVALS:
        name = "ours, 2 workers"
        ratio = _ratio(rows, "rate", name, rival, "sources", 32)
        found.append(at_least(f"{name}: requests/s against {rival}, sources", ratio, 2.0, "×"))
    return found


def _against(rows: Sequence[Row], guard: str, rival: str) -> list[dict[str, Any]]:
    def ratio(what: str, kind: str) -> float | None:
        return _ratio(rows, what, guard, rival, kind, 32)

    rate = f"{guard}: requests/s against {rival}"
    late = f"{guard}: p99 against {rival}"
    with_limit = ratio("rate", "limit + sources")
    return [
        at_least(f"{rate}, sources", ratio("rate", "sources"), 1.2, "×"),
        at_most(f"{late}, sources", ratio("p99", "sources"), 0.6, "×"),
        at_least(f"{rate}, limit + sources", with_limit, 2.0, "×"),
    ]


def _alone(rows: Sequence[Row], guard: str) -> list[dict[str, Any]]:
    found = []
    for kind in ("open", "sources", "limit + sources"):
        spent = _median(rows, "cpu", guard, kind, 32)
        found.append(at_most(f"{guard}: CPU a request, {kind}", spent, 0.40, " ms"))
        share = _ratio(rows, "cpu", guard, YARDSTICK, kind, 32)
        what = f"{guard}: CPU a request against {YARDSTICK}, {kind}"
        found.append(at_most(what, share, round(SHARE, 2), "×"))
    for kind in ("open", "sources", "limit + sources"):
        with_guard, without = (_median(rows, "p50", each, kind, 1) for each in (guard, "direct"))
        added = None if with_guard is None or without is None else with_guard - without
        found.append(at_most(f"{guard}: added for one client, {kind}", added, 0.4, " ms"))
    memory = [row["rss"] for row in rows if row["candidate"] == guard]
    found.append(at_most(f"{guard}: memory", max(memory, default=None), 80.0, " MiB"))
    return found


def _of(rows: Sequence[Row], candidate: str, kind: str, connections: int) -> dict[int, Row]:
    """The rows of a candidate's cell by their rounds; connections are kept in it."""
    wanted = (candidate, kind, connections, "kept")
    return {
        row["round"]: row
        for row in rows
        if (row["candidate"], row["kind"], row["connections"], row["style"]) == wanted
    }


def _ratio(
    rows: Sequence[Row], what: str, one: str, other: str, kind: str, connections: int
) -> float | None:
    """The median of the ratios within each round."""
    ones, others = (_of(rows, name, kind, connections) for name in (one, other))
    ratios = [ones[turn][what] / others[turn][what] for turn in ones.keys() & others.keys()]
    return statistics.median(ratios) if ratios else None


def _median(
    rows: Sequence[Row], what: str, candidate: str, kind: str, connections: int
) -> float | None:
    values = [row[what] for row in _of(rows, candidate, kind, connections).values()]
    return statistics.median(values) if values else None
