"""Decisions as log events, and the whole log as JSON lines where the operator wants it.

One decision is one event, with the decision's fields (`lotus_guard.core.decision`) under
`decision`. As text it is one line with everything that matters in it. As JSON
(`LOTUS_GUARD_LOG_FORMAT=json`) every line of the log is an object:

    {"time": "2026-11-23T10:00:00.123Z", "level": "info", "logger": "...", "text": "...",
     "decision": {...}}

which `journalctl -o cat -u voice-limit-guard | jq 'select(.decision)'` takes apart.
"""

import json
from datetime import UTC, datetime
from typing import Any, TextIO

from attrs import define, field
from twisted.logger import ILogObserver, Logger, LogLevel, formatEvent
from zope.interface import implementer

from lotus_guard.core.decision import Decision, Deed
from lotus_guard.core.text import printable
from lotus_guard.ports import Now

MOST_A_SECOND = 100
"""More decisions in one second are counted in the log, and not written: clients make them."""

_log = Logger()


@define(eq=False)
class DecisionLog:
    """Writes decisions to the log."""

    now: Now
    _second: float = field(default=0.0, init=False)
    _written: int = field(default=0, init=False)
    _left_out: int = field(default=0, init=False)

    def write(self, decision: Decision) -> None:
        """Write one decision, unless there are too many."""
        if self.now() - self._second >= 1.0:
            self._tell_left_out()
            self._second, self._written = self.now(), 0
        if self._written >= MOST_A_SECOND:
            self._left_out += 1
            return
        self._written += 1
        level = _level(decision)
        _log.emit(level, "{text}", text=line_of(decision), decision=decision.as_json())

    def _tell_left_out(self) -> None:
        if self._left_out:
            _log.warn("{n} more decisions are not in the log", n=self._left_out)
            self._left_out = 0


def line_of(decision: Decision) -> str:
    """Write a decision as one line."""
    ruling = decision.ruling
    would = "would have been: " if decision.observed else ""
    where = f" in {printable(ruling.room)}" if ruling.room else ""
    who = f" for {printable(ruling.user)}" if ruling.user else ""
    return (
        f"[{decision.id}] {would}{ruling.verdict}{where}{who}, by the {ruling.rule} rule: "
        f"{ruling.why}"
    )


def _level(decision: Decision) -> Any:
    ruling = decision.ruling
    is_open = ruling.deed in (Deed.FAIL_OPEN, Deed.UNENFORCED)
    is_grave = is_open or ruling.verdict in ("silenced", "curbed")
    return LogLevel.warn if is_grave else LogLevel.info


@implementer(ILogObserver)
class JsonLines:
    """A log observer that writes each event as one line of JSON."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def __call__(self, event: Any) -> None:
        """Write one event; whatever is in it, the line is one line of ASCII."""
        level = event.get("log_level")
        fields: dict[str, Any] = {
            "time": _time(event.get("log_time", 0.0)),
            "level": level.name if level else "info",
            "logger": str(event.get("log_namespace", "")),
            "text": formatEvent(event),
        }
        failure = event.get("log_failure")
        if failure is not None:
            fields["traceback"] = failure.getTraceback()
        if "decision" in event:
            fields["decision"] = event["decision"]
        self._out.write(json.dumps(fields, default=str) + "\n")
        self._out.flush()


def _time(epoch: float) -> str:
    when = datetime.fromtimestamp(epoch, UTC).isoformat(timespec="milliseconds")
    return when.replace("+00:00", "Z")
