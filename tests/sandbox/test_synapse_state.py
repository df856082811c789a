"""What the sandbox's homeserver knows."""

from math import inf

import pytest

from lotus_guard.sandbox.synapse_state import MOST_ASKED, SynapseState


@pytest.fixture
def state() -> SynapseState:
    made = SynapseState(lambda: "1")
    made.add_room("!r:s", "@admin:s")
    return made


def test_who_makes_a_room_is_in_it_and_who_leaves_is_not(state: SynapseState) -> None:
    state.join("!r:s", "@user:s")
    assert state.members("!r:s") == ["@admin:s", "@user:s"]
    state.set_state("!r:s", "m.room.member", {"membership": "leave"}, "@user:s")
    assert state.members("!r:s") == ["@admin:s"]


def test_memberships_change_and_each_says_who_did_it(state: SynapseState) -> None:
    assert state.membership("!r:s", "@user:s") == state.membership("!no:s", "@user:s") == ""
    for membership, sender in (("invite", "@admin:s"), ("join", ""), ("ban", "@admin:s")):
        state.set_membership("!r:s", "@user:s", membership, sender)
        assert state.membership("!r:s", "@user:s") == membership
        event = state.rooms["!r:s"]["m.room.member", "@user:s"]
        assert event["sender"] == (sender or "@user:s")
    assert state.joined_rooms("@admin:s") == ["!r:s"]
    assert state.joined_rooms("@user:s") == []


def test_whose_account_ends_leaves_all_rooms(state: SynapseState) -> None:
    state.add_room("!other:s", "@user:s")
    state.join("!r:s", "@user:s")
    state.deactivate("@user:s")
    assert state.joined_rooms("@user:s") == []
    assert state.membership("!r:s", "@user:s") == "leave"


def test_without_power_levels_everybody_may_set_state(state: SynapseState) -> None:
    has, needed = state.levels("!r:s", "m.test", "@user:s")
    assert has >= needed


def test_with_power_levels_the_moderators_may(state: SynapseState) -> None:
    state.set_power("!r:s", {"@admin:s": 100}, events={"m.easy": 0})
    assert state.levels("!r:s", "m.test", "@admin:s") == (100, 50)
    assert state.levels("!r:s", "m.test", "@user:s") == (0, 50)
    assert state.levels("!r:s", "m.easy", "@user:s") == (0, 0)


def test_in_a_room_of_version_12_its_creators_may_do_everything(state: SynapseState) -> None:
    state.add_room("!new:s", "@admin:s", 12, additional_creators=["@user:s"])
    state.set_power("!new:s", {})
    for user, level in (("@admin:s", inf), ("@user:s", inf), ("@other:s", 0)):
        assert state.levels("!new:s", "m.test", user) == (level, 50)


def test_old_rooms_name_who_made_them(state: SynapseState) -> None:
    for version, named in ((10, {"creator": "@admin:s"}), (11, {})):
        state.add_room("!v:s", "@admin:s", version)
        first = state.rooms["!v:s"]["m.room.create", ""]
        assert first["content"] == {"room_version": str(version), **named}
        assert first["sender"] == "@admin:s"


def test_each_event_is_later_than_the_one_before(state: SynapseState) -> None:
    state.set_state("!r:s", "m.a", {})
    state.set_state("!r:s", "m.b", {}, key="k", sender="@user:s")
    first, second = state.rooms["!r:s"]["m.a", ""], state.rooms["!r:s"]["m.b", "k"]
    assert first["origin_server_ts"] < second["origin_server_ts"]
    assert first["event_id"] < second["event_id"]
    assert (second["sender"], second["state_key"]) == ("@user:s", "k")


def test_of_what_it_is_asked_it_keeps_the_last_only(state: SynapseState) -> None:
    for number in range(MOST_ASKED + 5):
        state.note(str(number))
    assert (len(state.asked), state.asked[-1]) == (MOST_ASKED, str(MOST_ASKED + 4))
