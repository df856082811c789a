"""Decisions as log events, and the whole log as JSON lines where the operator wants it.

One decision is one event, with the decision's fields (`lotus_guard.rules.decision`) under
`decision`. As text it is one line with everything that matters in it. As JSON
(`LOTUS_GUARD_LOG_FORMAT=json`) every line of the log is an object:

    {"time": "2026-11-23T10:00:00.123Z", "level": "info", "logger": "...", "text": "...",
     "decision": {...}}

which `journalctl -o cat -u voice-limit-guard | jq 'select(.decision)'` takes apart.

What is written is what an operator needs: whom a rule refused or cut down, what was changed in a
live call, what went unguarded, which neighbour went away and came back. A token whose lifetime
alone was shortened is an ordinary one: it is on record, and in the log at level `debug`
(`LOTUS_GUARD_LOG_LEVEL`). So is Twisted's talk of its connections.

Nobody outside fills the log: of lines that are alike some a minute are written, the others are
counted (`Rationed`), whatever part wrote them, ours or a library. Where we know that strangers
cause a line, it is written once a minute (`lotus_guard.core.log_throttle`). Decisions have bounds
of their own (`DecisionLog`); all of them are kept on record, as far as those bounds go.
"""

import json
from datetime import UTC, datetime
from typing import Any, TextIO

from attrs import define, field
from twisted.logger import (
    ILogFilterPredicate,
    ILogObserver,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    LogPublisher,
    PredicateResult,
    formatEvent,
)
from zope.interface import implementer

from lotus_guard.core.lru import LruDict
from lotus_guard.core.model import RoomId
from lotus_guard.core.seats import Person
from lotus_guard.core.text import printable
from lotus_guard.enforce.ports import Now
from lotus_guard.rules.decision import Decision, Deed
from lotus_guard.rules.rulings import takes_sources

MINUTE = 60.0
MOST_DECISIONS = 600
"""More decisions in one minute are counted in the log, and not written: clients make them."""
MOST_ALIKE = 5
"""The same for those of one kind on one user in one room: a join is three or four requests."""
MOST_LINES = 20
"""More lines in one minute that are alike are counted, and not written."""
MOST_KINDS = 1000
"""Kinds of lines that are told apart in one minute."""

CHATTER = ("twisted.web.client", "twisted.application._client_service")
"""Twisted's loggers that have lines for each connection, or each attempt at one, at level info."""

_log = Logger()

Alike = tuple[str, str, RoomId | None, Person | None]


@define(eq=False)
class DecisionLog:
    """Writes decisions to the log, those of the level that is wanted or above."""

    now: Now
    level: str = "info"
    """The name of the least severe level that is written."""
    _least: Any = field(init=False)
    _minute: float = field(default=0.0, init=False)
    _written: int = field(default=0, init=False)
    _left_out: int = field(default=0, init=False)
    _alike: LruDict[Alike, int] = field(init=False, factory=lambda: LruDict(MOST_DECISIONS))

    def __attrs_post_init__(self) -> None:
        self._least = LogLevel.levelWithName(self.level)

    def write(self, decision: Decision) -> None:
        """Write one decision, unless it is below the level, or there are too many."""
        level = _level(decision)
        if level < self._least:
            return
        if self.now() - self._minute >= MINUTE:
            self._turn()
        if self._written >= MOST_DECISIONS:
            self._left_out += 1
            return
        ruling = decision.ruling
        alike = (ruling.deed.value, str(ruling.rule), ruling.room, ruling.user)
        times = self._alike.get(alike) or 0
        if times >= MOST_ALIKE:
            self._left_out += 1
            return
        self._written += 1
        self._alike.put(alike, times + 1)
        _log.emit(level, "{text}", text=line_of(decision), decision=decision.as_json())

    def _turn(self) -> None:
        if self._left_out:
            _log.warn("{n} more decisions are not in the log", n=self._left_out)
        self._minute, self._written, self._left_out = self.now(), 0, 0
        self._alike = LruDict(MOST_DECISIONS)


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
    if is_open or ruling.verdict in ("silenced", "curbed"):
        return LogLevel.warn
    is_ordinary = ruling.deed is Deed.CHANGED and not takes_sources(ruling)
    return LogLevel.debug if is_ordinary else LogLevel.info


def predicate_of(level: str) -> ILogFilterPredicate:
    """Make what knows which events are written; `level` is the name of the least severe one."""
    predicate = LogLevelFilterPredicate(LogLevel.levelWithName(level))
    if level == "info":
        for namespace in CHATTER:
            predicate.setLogLevelForNamespace(namespace, LogLevel.warn)
    return predicate


@implementer(ILogObserver)
@define(eq=False)
class Rationed:
    """Hands events of the wanted level on to another observer, of those alike some a minute.

    Alike are events of one logger with one format, and with one type of error.
    """

    inner: ILogObserver
    predicate: ILogFilterPredicate
    _minute: float = field(default=0.0, init=False)
    _times: dict[tuple[str, str, str], int] = field(init=False, factory=dict)

    def __call__(self, event: Any) -> None:
        """Hand an event on, or count it; what is below the level is not counted either."""
        if event.get("log_level") and self.predicate(event) is PredicateResult.no:
            return
        if "decision" in event:
            self.inner(event)
            return
        at = event.get("log_time", 0.0)
        if not 0.0 <= at - self._minute < MINUTE:
            self._turn(at)
        kind = _kind(event)
        if kind not in self._times and len(self._times) >= MOST_KINDS:
            kind = ("", "", "")
        times = self._times[kind] = self._times.get(kind, 0) + 1
        if times <= MOST_LINES:
            self.inner(event)

    def _turn(self, at: float) -> None:
        """Begin another minute, and tell what was left out in the last one."""
        self._minute, times, self._times = at, self._times, {}
        for (namespace, text, error), number in times.items():
            if number > MOST_LINES:
                self.inner(
                    {
                        "log_time": at,
                        "log_level": LogLevel.warn,
                        "log_namespace": namespace,
                        "log_format": "{number} more lines like this one in a minute: {like}",
                        "number": number - MOST_LINES,
                        "like": printable(f"{text} {error}".strip()),
                    }
                )


def _kind(event: Any) -> tuple[str, str, str]:
    failure = event.get("log_failure")
    error = "" if failure is None else str(getattr(failure, "type", ""))
    return str(event.get("log_namespace", "")), str(event.get("log_format", "")), error


def ration_all(publisher: LogPublisher, level: str = "info") -> None:
    """Put a level and a ration in front of all observers of a publisher, whoever chose them."""
    predicate = predicate_of(level)
    for observer in list(publisher._observers):
        if not isinstance(observer, Rationed):
            publisher.removeObserver(observer)
            publisher.addObserver(Rationed(observer, predicate))


def unration_all(publisher: LogPublisher) -> None:
    """Take level and rations away again."""
    for observer in list(publisher._observers):
        if isinstance(observer, Rationed):
            publisher.removeObserver(observer)
            publisher.addObserver(observer.inner)


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
