"""Who gets to know who is in a call: moderators by the homeserver's word, and nobody else."""

import json
from collections.abc import Callable
from math import inf
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from lotus_guard.core.log_throttle import LogThrottle
from lotus_guard.core.membership import Membership, Standing
from lotus_guard.enforce.ports import MayNotLook, NotAsked, Outage, Reason
from lotus_guard.overload.client_address import Origin
from lotus_guard.overload.load_shedding import PANEL, PANEL_SECONDS, TurnedAway, limiter
from lotus_guard.web.panel.room import SECONDS, USER, WHY, RoomDoor, Witnesses
from lotus_guard.web.problems import Problem
from tests.neighbours.answering import outcome_of, result_of
from tests.saying import ENGLISH

EVENTS = ("io.lotus.voice_limit", "io.lotus.room_quality")
BODY = json.dumps(
    {"room_id": "!r:s", "openid_token": {"access_token": "t0ken", "matrix_server_name": "s"}}
).encode()
WHO = Origin("192.0.2.1")
JOINED = Standing(Membership.JOIN, True)


@define
class Levels:
    level: float = 50
    needs: dict[str, int] = field(factory=dict)

    def of(self, user: str) -> float:
        return self.level if user == "@a:s" else 0

    def needed(self, event_type: str) -> int:
        return self.needs.get(event_type, 50)


@define(eq=False)
class Town:
    """What each of those says who are asked: a value, an error, or a Deferred."""

    user: Any = "@a:s"
    standing: Any = JOINED
    power: Any = field(factory=Levels)
    told: Any = field(factory=lambda: {"people": ["@b:s"]})
    clock: Clock = field(factory=Clock)
    asked: list[str] = field(factory=list)
    door: RoomDoor = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.door = RoomDoor(
            Witnesses(self._says("user"), self._says("standing"), self._says("power")),
            EVENTS,
            self._says("told"),
            limiter(PANEL, self.clock, PANEL_SECONDS),
            self.clock,
            LogThrottle(self.clock.seconds),
        )

    def _says(self, name: str) -> Callable[..., Any]:
        async def ask(*_what: Any) -> Any:
            self.asked.append(name)
            said = getattr(self, name)
            if isinstance(said, Exception):
                raise said
            return await said if isinstance(said, Deferred) else said

        return ask

    def ask(self, body: bytes = BODY, who: Origin = WHO) -> Deferred[bytes]:
        return ensureDeferred(self.door.answer(body, who))


def refusal(town: Town, body: bytes = BODY) -> tuple[int, dict[str, Any]]:
    with pytest.raises(Problem) as raised:
        result_of(town.door.answer(body, WHO))
    return raised.value.status, json.loads(raised.value.body(ENGLISH))


def test_a_moderator_is_told() -> None:
    got: Any = result_of(Town().door.answer(BODY, WHO))
    assert json.loads(got) == {"user": "@a:s", "people": ["@b:s"]}


@pytest.mark.parametrize(
    ("says", "why", "asked"),
    [
        ({"user": None}, "unvouched", ["user"]),
        ({"standing": Standing(Membership.UNHEARD, True)}, "outside", ["user", "standing"]),
        ({"standing": Standing(Membership.INVITE, True)}, "outside", ["user", "standing"]),
        ({"standing": Standing(Membership.LEAVE, True)}, "outside", ["user", "standing"]),
        ({"standing": Standing(Membership.NO_ROOM, True)}, "outside", ["user", "standing"]),
        # A user whom the homeserver does not call its own is not vouched for by it.
        ({"standing": Standing(Membership.JOIN, False)}, "outside", ["user", "standing"]),
        ({"power": Levels(49)}, "powerless", ["user", "standing", "power"]),
        ({"power": Levels(-inf)}, "powerless", ["user", "standing", "power"]),
    ],
)
def test_nobody_else_is(says: dict[str, Any], why: str, asked: list[str]) -> None:
    town = Town(**says)
    status, said = refusal(town)
    assert (status, said["errcode"], said[WHY]) == (403, "M_FORBIDDEN", why)
    assert said.get(USER) == (None if why == "unvouched" else "@a:s")
    assert town.asked == asked
    assert "@b:s" not in json.dumps(said)


@pytest.mark.parametrize("event", EVENTS)
def test_whoever_may_set_one_of_the_rules_is_a_moderator(event: str) -> None:
    town = Town(power=Levels(10, {event: 10}))
    assert isinstance(result_of(town.door.answer(BODY, WHO)), bytes)


@pytest.mark.parametrize("name", ["user", "standing", "power", "told"])
@pytest.mark.parametrize(
    "outage",
    [
        Outage(Reason.REFUSED, "at http://10.0.0.1"),
        MayNotLook("nobody of ours is there"),
        NotAsked(Reason.BUSY, "16 wait"),
    ],
)
def test_an_outage_tells_nobody_anything(name: str, outage: Outage, logged: list[Any]) -> None:
    """Here nothing fails open; and what is wrong with us is for our log."""
    says: dict[str, Any] = {name: outage}
    status, said = refusal(Town(**says))
    assert (status, said[WHY]) == (503, "away")
    assert outage.detail not in json.dumps(said)
    assert not any("t0ken" in str(event) for event in logged)
    warned = [each for each in logged if "LOTUS_GUARD_OPENID_URL" in (each.get("log_format") or "")]
    assert len(warned) == (0 if isinstance(outage, NotAsked) else 1)


def test_who_causes_outages_writes_one_line_a_minute(logged: list[Any]) -> None:
    town = Town(user=Outage(Reason.SERVER_ERROR, "500"))
    for _ in range(5):
        refusal(town)
    assert sum("panel" in (each.get("log_format") or "") for each in logged) == 1


@pytest.mark.parametrize("name", ["user", "standing", "power", "told"])
def test_one_deadline_holds_over_all(name: str) -> None:
    says: dict[str, Any] = {name: Deferred()}
    town = Town(**says)
    found = outcome_of(town.ask())
    town.clock.pump([SECONDS, 0.1, 0.1])
    assert found[0].value.status == 503
    assert town.door.places.shares.used == 0


@pytest.mark.parametrize(("body", "status"), [(b"{}", 400), (b" " * 4097, 413), (b"\xff", 400)])
def test_what_cannot_be_read_asks_nobody(body: bytes, status: int) -> None:
    town = Town()
    assert refusal(town, body)[0] == status
    assert town.asked == []


def test_one_address_gets_a_share_and_no_more() -> None:
    town = Town(user=Deferred())
    asking = [outcome_of(town.ask()) for _ in range(PANEL.each + PANEL.line + 1)]
    assert town.asked == ["user"] * PANEL.each
    assert asking[-1][0].check(TurnedAway)
    others = outcome_of(town.ask(who=Origin("192.0.2.2")))
    assert len(town.asked) == PANEL.each + 1, "another address has a place at once"
    town.clock.pump([PANEL_SECONDS, 0.1, SECONDS, 0.1, 0.1])
    assert [each[0].type for each in asking[: PANEL.each]] == [Problem] * PANEL.each
    assert all(each[0].check(TurnedAway) for each in asking[PANEL.each :])
    assert others[0].check(Problem)
    assert town.door.places.shares.used == 0
