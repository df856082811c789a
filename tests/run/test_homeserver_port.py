"""The homeserver's port gives up before Synapse does, and alone hears a homeserver's word."""

from twisted.internet.task import Clock

from lotus_guard.core.power import POWER_LEVELS
from lotus_guard.neighbours.upstream import OF_HOMESERVERS, WITHHELD
from lotus_guard.overload.load_shedding import ELSEWHERE_SECONDS, HANDED_ON_SECONDS
from lotus_guard.rules import RULES
from lotus_guard.run.homeserver_port import UPSTREAM_SECONDS
from lotus_guard.web.door import SLOW_SECONDS
from tests.run.parts import guard_on

SYNAPSE_SECONDS = 30.0
LISTEN = "tcp:0:interface=127.0.0.1"


def test_it_gives_up_before_synapse_does_however_long_each_part_takes() -> None:
    deadline = 1.0  # of each rule, and they run side by side
    waits = 2 * HANDED_ON_SECONDS + ELSEWHERE_SECONDS + SLOW_SECONDS
    assert waits + UPSTREAM_SECONDS + deadline < SYNAPSE_SECONDS


def test_only_there_a_homeservers_word_goes_through() -> None:
    guard = guard_on(Clock(), LOTUS_GUARD_HOMESERVER_LISTEN=LISTEN)
    theirs = guard.homeserver.door.behind
    ours = guard.public.door.behind
    assert getattr(theirs, "exchange").way.withheld == WITHHELD - OF_HOMESERVERS  # noqa: B009
    assert getattr(ours, "exchange").way.withheld == WITHHELD  # noqa: B009


def test_no_homeserver_is_cut_for_having_many_connections() -> None:
    guard = guard_on(Clock(), LOTUS_GUARD_HOMESERVER_LISTEN=LISTEN)
    assert guard.homeserver.connections.is_proxy("203.0.113.7")


def test_of_the_homeservers_news_policies_and_power_levels_are_listened_to() -> None:
    settings = {"LOTUS_GUARD_TRANSACTIONS": "on", "LIVEKIT_HS_TOKEN": "t"}
    guard = guard_on(Clock(), LOTUS_GUARD_HOMESERVER_LISTEN=LISTEN, **settings)
    service = getattr(guard.homeserver.door.behind, "service")  # noqa: B009
    assert set(service.transactions.types) == {*(rule.event for rule in RULES), POWER_LEVELS}
