"""What the guard makes of a homeserver's answers: who is in a room, and what its policy is.

Asked through what it asks with, of the same homeservers as `homeserver.py` asks, and with the same
people (docs/facts.md, Any homeserver: who may ask what about a room).
"""

from collections.abc import Coroutine, Mapping
from math import inf
from typing import Any
from urllib.parse import urlsplit

import pytest
from attrs import define
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse
from zope.interface import implementer

from lotus_guard.core.membership import Membership, Standing
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.enforce.credentials import Credential
from lotus_guard.enforce.eyes import Eyes
from lotus_guard.enforce.ports import MayNotLook, Outage, Reason
from lotus_guard.neighbours.application_service import ApplicationService
from lotus_guard.neighbours.http import Http
from lotus_guard.neighbours.sources import Sources
from lotus_guard.neighbours.synapse import Synapse
from lotus_guard.rules import RULES
from lotus_guard.rules.rule import Rule
from tests.contract.homeserver import AFTER, PEOPLE, POLICY, HomeserverSubject
from tests.contract.subject import Server
from tests.neighbours.answering import Answer, result_of

SECONDS = 5.0
RULE = next(rule for rule in RULES if rule.event == POLICY)
OTHER_RULE = next(rule for rule in RULES if rule.event != POLICY)
"""Its policy is set nowhere here."""

SAID: Mapping[str, Mapping[str, Membership]] = {
    "synapse": {"left": Membership.LEAVE, "kicked": Membership.LEAVE},
    "dendrite": {
        "invited": Membership.INVITE,
        "left": Membership.LEAVE,
        "kicked": Membership.LEAVE,
        "gone": Membership.LEAVE,
    },
    "tuwunel": {},
    "continuwuity": {},
}
"""Of whom more is told than that they are not in the room."""


@implementer(IAgent)
@define(eq=False)
class AgentOf:
    """Makes requests to a server while the test waits."""

    server: Server

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, _body: Any = None
    ) -> Deferred[IResponse]:
        target = urlsplit(uri.decode())
        sent = {
            name.decode(): values[0].decode()
            for name, values in (headers or Headers()).getAllRawHeaders()
        }
        path = f"{target.path}?{target.query}" if target.query else target.path
        answer = self.server.request(method.decode(), path, sent)
        return succeed(Answer(answer.status, answer.body))


@define(eq=False)
class Ways:
    """The ways to ask a homeserver, with the readers that the test names."""

    subject: HomeserverSubject
    eyes: Eyes
    service: ApplicationService
    admin: Synapse
    both: Sources

    def standing(self, way: Any, user: str, room: str = "") -> Any:
        """How a user stands to the room, or why that cannot be said."""
        asked = way.membership(RoomId(room or self.subject.room), UserId(user))
        return found(asked)

    def policy(self, way: Any, rule: Rule[Any] = RULE, room: str = "") -> Any:
        """A policy of the room, or why it cannot be said."""
        reading = found(way.policy(RoomId(room or self.subject.room), rule))
        return reading if isinstance(reading, Exception) else reading.policy

    def power(self, way: Any, room: str = "") -> Any:
        """Who has which power level, or why that cannot be said."""
        return found(way.power(RoomId(room or self.subject.room)))

    def reader(self, who: str, room: str = "") -> None:
        """Let somebody be the only one who is known to be in a room."""
        name = RoomId(room or self.subject.room)
        for user in self.eyes.of(name):
            self.eyes.forget(name, user)
        self.eyes.suggest(name, UserId(self.subject.people[who]))


def found(asked: Coroutine[Any, Any, Any]) -> Any:
    """What came of a question; an outage is an answer here."""
    try:
        return result_of(asked)
    except Outage as outage:
        return outage


def ways_to(subject: HomeserverSubject, token: str = "") -> Ways:
    http = Http(AgentOf(subject.server), Clock())
    eyes = Eyes()
    as_token = Credential("as", token or subject.token)
    service = ApplicationService(http, "http://h", as_token, SECONDS, eyes)
    admin_token = Credential("admin", token or subject.admin_token)
    admin = Synapse(http, "http://h", admin_token, SECONDS, server=service.memory.server)
    return Ways(subject, eyes, service, admin, Sources([service, admin], http.clock, SECONDS))


class PortContract:
    """The suite; each class that runs it has the fixture `subject`."""

    @pytest.fixture
    def ways(self, subject: HomeserverSubject) -> Ways:
        return ways_to(subject)

    @pytest.mark.parametrize("who", PEOPLE)
    def test_who_is_in_the_room_and_who_is_certainly_not(self, ways: Ways, who: str) -> None:
        standing = ways.standing(ways.service, ways.subject.people[who])
        if who == "hidden":
            assert isinstance(standing, MayNotLook)
            return
        said = SAID[ways.subject.name].get(who, Membership.UNHEARD)
        expected = Membership.JOIN if who == "joined" else said
        assert standing == Standing(expected, True, "application service")
        assert standing.is_outside == (who != "joined")

    def test_nobody_is_outside_of_whom_it_is_unknown_whether_we_may_ask_as_them(
        self, ways: Ways
    ) -> None:
        """A user who does not exist: only where there need be no account, this is an answer."""
        nobody = f"@user-nobody:{ways.subject.server_name}"
        standing = ways.standing(ways.service, nobody)
        if ways.subject.name in ("synapse", "dendrite"):
            assert isinstance(standing, MayNotLook)
        else:
            assert standing.is_outside

    def test_users_of_others_are_outside_only_where_that_was_said(self, ways: Ways) -> None:
        stranger = "@user:remote.example"
        unheard = Standing(Membership.UNHEARD, False, "application service")
        for who in PEOPLE:
            ways.reader(who)
            assert ways.standing(ways.service, stranger) == unheard, who

    @pytest.mark.parametrize("room", ["!nowhere:remote.example", "!nowhere"])
    def test_in_a_room_that_there_is_not_nobody_is(self, ways: Ways, room: str) -> None:
        assert ways.standing(ways.service, ways.subject.people["joined"], room).is_outside
        assert isinstance(ways.policy(ways.service, room=room), MayNotLook)

    def test_who_only_reads_a_world_readable_room_is_not_in_it(self, ways: Ways) -> None:
        world = ways.subject.world
        assert ways.standing(ways.service, ways.subject.people["never"], world).is_outside
        ways.reader("never", world)
        for rule in (RULE, OTHER_RULE):
            assert isinstance(ways.policy(ways.service, rule, world), MayNotLook)

    @pytest.mark.parametrize("who", PEOPLE)
    def test_a_policy_is_read_as_a_member_alone(self, ways: Ways, who: str) -> None:
        """What others are shown is old, another event, or nothing."""
        ways.reader(who)
        readings = [ways.policy(ways.service, rule) for rule in (RULE, OTHER_RULE)]
        if who == "joined":
            assert readings == [RULE.read(AFTER).policy, OTHER_RULE.read(None).policy]
        else:
            assert [type(each) for each in readings] == [MayNotLook, MayNotLook]

    def test_a_wrong_token_is_no_answer(self, subject: HomeserverSubject) -> None:
        ways = ways_to(subject, "no-token")
        ways.reader("joined")
        for way in (ways.service, ways.admin, ways.both):
            standing = ways.standing(way, subject.people["never"])
            assert isinstance(standing, Outage)
            assert standing.reason is Reason.UNAUTHORIZED

    @pytest.mark.parametrize("who", PEOPLE)
    def test_an_admins_token_tells_all_where_there_is_such_an_api(
        self, ways: Ways, who: str
    ) -> None:
        standing = ways.standing(ways.admin, ways.subject.people[who])
        if ways.subject.name == "synapse":
            there = who in ("joined", "hidden")
            expected = Membership.JOIN if there else Membership.UNHEARD
            assert standing == Standing(expected, True, "admin")
        else:
            assert isinstance(standing, Outage)
            assert standing.reason is Reason.NOT_FOUND

    def test_an_admin_reads_policies_where_there_is_such_an_api(self, ways: Ways) -> None:
        policy = ways.policy(ways.admin)
        if ways.subject.name in ("synapse", "tuwunel"):
            assert policy == RULE.read(AFTER).policy
            assert ways.policy(ways.admin, OTHER_RULE) == OTHER_RULE.read(None).policy
        else:
            assert isinstance(policy, Outage)
            assert policy.reason is Reason.NOT_FOUND
        elsewhere = ways.policy(ways.admin, room="!nowhere")
        if ways.subject.name == "synapse":
            assert elsewhere == RULE.read(None).policy
        else:
            assert isinstance(elsewhere, Outage)

    def test_power_levels_are_read_in_rooms_of_each_version(self, ways: Ways) -> None:
        subject = ways.subject
        assert {10, 11} <= set(subject.made)
        for version, room in subject.made.items():
            ways.reader("joined", room)
            for way in (ways.service, ways.both):
                power = ways.power(way, room)
                assert power.of(subject.admin) == (100 if version < 12 else inf), version
                assert power.of(subject.people["joined"]) == 50, version
                assert power.of(subject.people["never"]) == power.users_default == 0
                assert (power.needed(POLICY), power.needed("io.lotus.nothing")) == (60, 50)

    @pytest.mark.parametrize("who", PEOPLE)
    def test_power_levels_are_read_as_a_member_alone(self, ways: Ways, who: str) -> None:
        ways.reader(who)
        power = ways.power(ways.service)
        if who == "joined":
            assert power.of(ways.subject.admin) >= 100
        else:
            assert isinstance(power, MayNotLook)

    def test_power_levels_of_a_room_that_there_is_not_are_unknown(self, ways: Ways) -> None:
        """Nobody has power in it, and nobody may do everything: nothing is known."""
        for room in ("!nowhere:remote.example", "!nowhere", "nowhere"):
            ways.reader("joined", room)
            for way in (ways.service, ways.admin, ways.both):
                assert isinstance(ways.power(way, room), Outage), room
        ways.reader("never", ways.subject.world)
        assert isinstance(ways.power(ways.service, ways.subject.world), MayNotLook)

    def test_power_levels_an_admin_reads_where_there_is_such_an_api(self, ways: Ways) -> None:
        subject = ways.subject
        for version, room in subject.made.items():
            power = ways.power(ways.admin, room)
            if subject.name in ("synapse", "tuwunel"):
                assert power.of(subject.admin) == (100 if version < 12 else inf)
                assert power.of(subject.people["joined"]) == 50
                assert power.needed(POLICY) == 60
            else:
                assert power.reason is Reason.NOT_FOUND

    @pytest.mark.parametrize("who", PEOPLE)
    def test_both_ways_together_never_put_a_member_outside(self, ways: Ways, who: str) -> None:
        standing = ways.standing(ways.both, ways.subject.people[who])
        if who == "hidden" and ways.subject.name != "synapse":
            assert isinstance(standing, Outage)
        else:
            assert standing.is_outside == (who not in ("joined", "hidden"))
