"""What was promised, and whether a run kept it: met or missed, and by how much."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.candidates import DIRECT, EARLIER, HINTED, OURS, RIVAL, TWO, WORKERS, YARDSTICK
from bench.cells import ALONE, CORE
from bench.ratios import Row, ratio, ratio_added
from bench.tables import markdown


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
    for cell, wanted in zip(CORE, (1.5, 1.3, 2.0), strict=True):
        rate = ratio(rows, "rate", OURS, RIVAL, cell)
        found.append(at_least(f"requests/s against {RIVAL}, {cell.kind}", rate, wanted, "×"))
    for cell in CORE:
        late = ratio(rows, "p99", OURS, RIVAL, cell)
        found.append(at_most(f"p99 against {RIVAL}, {cell.kind}", late, 0.5, "×"))
    for cell in ALONE:
        added = ratio_added(rows, OURS, RIVAL, cell, DIRECT)
        what = f"added for one client against what {RIVAL} adds, {cell.kind}"
        found.append(at_most(what, added, 1.2, "×"))
    for cell, most in zip(CORE[1:], (0.5, 0.6), strict=True):
        spent = ratio(rows, "cpu", OURS, YARDSTICK, cell)
        found.append(at_most(f"CPU a request against {YARDSTICK}, {cell.kind}", spent, most, "×"))
    for cell in CORE:
        more = ratio(rows, "undivided", TWO, OURS, cell)
        what = f"requests/s of {WORKERS} workers against one, a core for each, {cell.kind}"
        found.append(at_least(what, more, 1.7, "×"))
    memory = [row["worker"] for row in rows if row["candidate"] in (OURS, HINTED, TWO)]
    found.append(at_most("memory of a worker", max(memory, default=None), 80.0, " MiB"))
    return found + _against_earlier(rows)


def _against_earlier(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Judge ours beside ours at another revision, where that was measured."""
    found = []
    for earlier in sorted({row["candidate"] for row in rows}):
        for cell in CORE if earlier.startswith(EARLIER) else ():
            rate, spent = (ratio(rows, what, OURS, earlier, cell) for what in ("rate", "cpu"))
            found.append(at_least(f"requests/s against {earlier}, {cell.kind}", rate, 0.91, "×"))
            found.append(at_most(f"CPU a request against {earlier}, {cell.kind}", spent, 1.1, "×"))
    return found
