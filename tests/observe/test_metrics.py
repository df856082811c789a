"""The names, labels and texts of all metrics are what operators' dashboards were made for."""

import re
from pathlib import Path

from twisted.internet.task import Clock

from lotus_guard.core.model import Grant, Identity, LiveKitRoom, Participant, RoomId
from lotus_guard.core.seats import Person
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.neighbours.agents import Agents
from lotus_guard.observe.metrics import Metrics
from lotus_guard.rules.decision import REQUEST, Deed, Ruling
from lotus_guard.rules.plan import Curb, Narrow, Remove, Silence, Step
from lotus_guard.run.clocks import Clocks
from lotus_guard.run.config import read_config
from lotus_guard.run.guard import make_guard
from tests.test_docs import GOOD

RECORDED = Path(__file__).resolve().parents[1] / "recorded" / "metrics.txt"
"""What the guard exposes after `everything`. Names and labels stay; a text may be put better."""
ROOM, AWAY = RoomId("!r:s"), Outage(Reason.TIMEOUT, "no answer in time")


def steps() -> list[Step]:
    who = Participant(Identity("@alice:s:PHONE"), "PA_1", Grant(can_publish=True, sources=()))
    where = (LiveKitRoom("room"), who)
    return [Narrow(*where), Silence(*where), Curb(*where), Remove(*where, Person("@alice:s"))]


def everything(metrics: Metrics) -> None:
    """Have each thing counted that there is."""
    requests, rules, loop = metrics.requests, metrics.rules, metrics.loop
    requests.answered("/get_token", 200)
    requests.answered("/get_token", 200)
    requests.answered("other", 502)
    requests.added(0.003)
    requests.upstream_did(None)
    requests.upstream_did(AWAY)
    requests.turned_one_away()
    for why in ("idle", "late", "unread", "room"):
        requests.cut(why)
    for rule in ("limit", "sources"):
        rules.failed_open(rule, AWAY)
        rules.not_enforced(rule, AWAY)
        rules.used_stale(rule, AWAY)
        rules.used_policy(rule, True)
        rules.used_policy(rule, False)
    rules.used("look")(True)
    rules.passed_elsewhere()
    rules.decided(Ruling(Deed.REFUSED, "limit", "refused", "The call is full."), False)
    rules.decided(Ruling(Deed.REFUSED, REQUEST, "refused", "Too many."), False)
    rules.decided(Ruling(Deed.CHANGED, "sources", "narrowed", "the room forbids camera"), False)
    rules.decided(Ruling(Deed.CHANGED, "limit", "shortened", "It lives too long."), False)
    rules.decided(Ruling(Deed.REFUSED, "limit", "refused", "The call is full."), True)
    rules.complained(ROOM, "max_users is no number")
    for step in steps():
        loop.stepped(step, True)
        loop.stepped(step, False)
        loop.deposed(step)
        loop.confirmed(type(step), 1.5)
        loop.unconfirmed(type(step))
    loop.put_off(ROOM, 7)
    loop.passed(0.2, 3, 12, False)
    loop.passed(4.0, 4, 13, True)
    loop.saw_partly(ROOM)
    neighbours = metrics.neighbours
    neighbours.called_livekit("ListRooms")
    neighbours.called_synapse("rooms")
    neighbours.not_asked("synapse", "open")
    neighbours.opened("synapse", AWAY)
    neighbours.opened("livekit", AWAY)
    neighbours.closed("livekit", 3.0)
    metrics.memory.store_failed("disk full")
    metrics.memory.redis_failed(AWAY)
    metrics.memory.redis_is_away(AWAY)
    metrics.memory.contended()


def lines(text: bytes) -> list[str]:
    """The exposition, without what differs from release to release and from process to process."""
    plain = re.sub(r"^(process_\w+) .*$", r"\1 …", text.decode(), flags=re.MULTILINE)
    plain = re.sub(r'(python|version)="[^"]+"', r'\1="…"', plain)
    return sorted(plain.splitlines())


def test_what_is_exposed_is_what_the_release_before_exposed() -> None:
    clock = Clock()
    clocks = Clocks(clock, clock.seconds, clock.seconds)
    metrics = make_guard(read_config(GOOD), clocks, Agents(None, None, None)).metrics
    everything(metrics)
    assert lines(metrics.exposition()) == RECORDED.read_text().splitlines()
