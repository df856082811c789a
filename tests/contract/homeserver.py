"""What a homeserver lets an application service see of a room, as which of its users.

The tables say it for each homeserver; Tuwunel's and Continuwuity's were read, and are asked of the
sandbox alone (docs/facts.md, Any homeserver: who may ask what about a room).
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pytest
from attrs import frozen

from lotus_guard.core.power import CREATE
from tests.contract.subject import Response, Server
from tests.contract.synapse import refusal

POLICY, ABSENT = "io.lotus.room_quality", "io.lotus.nothing"
BEFORE, AFTER = {"allow_camera": False}, {"allow_camera": True}
"""The policy of the room when everybody came and went, and now."""
FORBIDDEN, NOT_FOUND = (403, "M_FORBIDDEN"), (404, "M_NOT_FOUND")
UNKNOWN_TOKEN, EXCLUSIVE = (401, "M_UNKNOWN_TOKEN"), (400, "M_EXCLUSIVE")
IN_THE_ROOM = ("joined", "hidden")
PEOPLE = ("joined", "invited", "knocking", "left", "kicked", "banned", "never", "gone", "hidden")
"""`gone`'s account has ended; the application service may not act as `hidden`."""
FOUR = ("synapse", "tuwunel", "continuwuity", "dendrite")
Seen = str | tuple[int, str]

_NOT_IN = ("invited", "knocking", "left", "kicked", "banned", "never", "gone")
OWN: Mapping[str, Mapping[str, Seen]] = {
    "synapse": {
        **dict.fromkeys(_NOT_IN, FORBIDDEN),
        "joined": "join",
        "left": "leave",
        "kicked": "leave",
        "hidden": FORBIDDEN,
    },
    "dendrite": {
        **dict.fromkeys(_NOT_IN, FORBIDDEN),
        "joined": "join",
        "invited": "invite",
        "left": "leave",
        "kicked": "leave",
        "gone": "leave",
        "hidden": FORBIDDEN,
    },
    "tuwunel": {**dict.fromkeys(_NOT_IN, NOT_FOUND), "joined": "join", "hidden": EXCLUSIVE},
    "continuwuity": {**dict.fromkeys(_NOT_IN, NOT_FOUND), "joined": "join", "hidden": EXCLUSIVE},
}
"""What each is answered who asks for their own membership: that, or status and code."""
MEMBERSHIPS = {
    "joined": "join",
    "invited": "invite",
    "left": "leave",
    "kicked": "leave",
    "banned": "ban",
    "gone": "leave",
    "hidden": "join",
}
"""What a member sees of each."""


@frozen
class HomeserverSubject:
    """A homeserver with a room that everybody came to, or left, as their name says."""

    server: Server
    name: str
    """Which of FOUR it is."""
    server_name: str
    token: str
    """The application service's."""
    sender: str
    """Its own user."""
    admin_token: str
    admin: str
    people: Mapping[str, str]
    """User ids by what became of them; `knocking` does not knock where that is unknown."""
    room: str
    """Its policy was BEFORE, and is AFTER."""
    world: str
    """Is world-readable, has the policy, and only the admin is in it."""
    restricted: str
    """Who is in `room` may join it; only `joined` has."""
    made: Mapping[int, str]
    """Rooms that the admin made, by version. `joined` is in them and has level 50 (in the old one
    as text, where the homeserver still takes that), and to set POLICY needs 60."""

    def get(self, path: str, token: str | None = None) -> Response:
        given = self.token if token is None else token
        return self.server.request("GET", path, {"Authorization": f"Bearer {given}"})

    def read(
        self, user: str | None, event_type: str, key: str = "", room: str = "", token: str = ""
    ) -> Response:
        """Read a state event as a user."""
        path = f"/_matrix/client/v3/rooms/{quote(room or self.room)}/state/{event_type}/"
        query = "" if user is None else f"?user_id={quote(user)}"
        return self.get(f"{path}{quote(key)}{query}", token or self.token)

    def whole(self, user: str, event_type: str, room: str = "") -> Response:
        """Read all of a state event as a user."""
        path = f"/_matrix/client/v3/rooms/{quote(room or self.room)}/state/{event_type}/"
        return self.get(f"{path}?user_id={quote(user)}&format=event")

    def own(self, user: str, room: str = "") -> Seen:
        """What a user is answered who asks for their own membership."""
        answer = self.read(user, "m.room.member", user, room)
        return str(answer.json()["membership"]) if answer.status == 200 else refusal(answer)

    def whoami(self, user: str | None, token: str = "") -> Response:
        query = "" if user is None else f"?user_id={quote(user)}"
        return self.get(f"/_matrix/client/v3/account/whoami{query}", token or self.token)

    @property
    def hidden(self) -> tuple[int, str]:
        """What is answered to whoever may not look."""
        return FORBIDDEN if self.name in ("synapse", "dendrite") else NOT_FOUND


def seen(answer: Response) -> Any:
    """A content, or status and code."""
    return answer.json() if answer.status == 200 else refusal(answer)


class HomeserverContract:
    """The suite; each class that runs it has the fixture `subject`."""

    @pytest.mark.parametrize("who", PEOPLE)
    def test_own_membership(self, subject: HomeserverSubject, who: str) -> None:
        assert subject.own(subject.people[who]) == OWN[subject.name][who]

    @pytest.mark.parametrize("who", PEOPLE)
    def test_a_policy_as_it_is_or_was(self, subject: HomeserverSubject, who: str) -> None:
        """Who has left reads it as it was when they did, where they read at all."""
        own = OWN[subject.name][who]
        expected: Any = own
        if isinstance(own, str):
            expected = AFTER if own == "join" else BEFORE
        assert seen(subject.read(subject.people[who], POLICY)) == expected

    @pytest.mark.parametrize("who", PEOPLE)
    def test_what_is_not_there(self, subject: HomeserverSubject, who: str) -> None:
        """Dendrite shows who reads from outside another event in its place."""
        answer = seen(subject.read(subject.people[who], ABSENT))
        own = OWN[subject.name][who]
        if not isinstance(own, str):
            assert answer == own
        elif own != "join" and subject.name == "dendrite":
            assert answer["room_version"], "this is the room's m.room.create"
        else:
            assert answer == NOT_FOUND

    def test_who_has_a_creators_power_the_whole_first_event_says(
        self, subject: HomeserverSubject
    ) -> None:
        for version, room in subject.made.items():
            answer = subject.whole(subject.people["joined"], CREATE, room)
            event = answer.json()
            assert (event["type"], event["state_key"]) == (CREATE, "")
            assert event["sender"] == subject.admin
            assert event["content"]["room_version"] == str(version)
            assert ("creator" in event["content"]) == (version < 11)

    @pytest.mark.parametrize("who", PEOPLE)
    def test_a_whole_event_is_shown_to_whom_its_content_is(
        self, subject: HomeserverSubject, who: str
    ) -> None:
        user = subject.people[who]
        content, whole = (seen(ask(user, CREATE)) for ask in (subject.read, subject.whole))
        assert (whole["content"] if isinstance(whole, dict) else whole) == content

    def test_who_left_is_shown_their_own_membership_as_anothers(
        self, subject: HomeserverSubject
    ) -> None:
        """On Dendrite: so a reader who has left says nothing of anybody."""
        nobody = f"@user-nobody:{subject.server_name}"
        answer = seen(subject.read(subject.people["left"], "m.room.member", nobody))
        if subject.name == "dendrite":
            assert answer["membership"] == "leave"
        else:
            assert answer == NOT_FOUND

    @pytest.mark.parametrize("who", PEOPLE)
    def test_what_a_member_sees_of_others(self, subject: HomeserverSubject, who: str) -> None:
        expected = MEMBERSHIPS.get(who)
        if who == "knocking" and subject.name != "dendrite":
            expected = "knock"
        answer = seen(subject.read(subject.people["joined"], "m.room.member", subject.people[who]))
        assert (answer["membership"] if expected else answer) == (expected or NOT_FOUND)

    def test_a_member_hears_nothing_of_whom_there_is_not(self, subject: HomeserverSubject) -> None:
        for user in (f"@user-nobody:{subject.server_name}", "@user:remote.example", "no-id"):
            answer = subject.read(subject.people["joined"], "m.room.member", user)
            assert refusal(answer) == NOT_FOUND

    @pytest.mark.parametrize("who", PEOPLE)
    def test_whoami_names_the_user_or_is_refused(
        self, subject: HomeserverSubject, who: str
    ) -> None:
        answer = subject.whoami(subject.people[who])
        if who == "hidden":
            assert refusal(answer) == OWN[subject.name]["hidden"]
        else:
            assert answer.json()["user_id"] == subject.people[who]

    def test_whoami_without_a_user_names_the_sender(self, subject: HomeserverSubject) -> None:
        for user in (None, subject.sender):
            assert subject.whoami(user).json()["user_id"] == subject.sender
        assert seen(subject.read(None, POLICY)) == subject.hidden

    def test_a_user_who_does_not_exist(self, subject: HomeserverSubject) -> None:
        assert subject.own(f"@user-nobody:{subject.server_name}") == subject.hidden

    def test_a_user_of_another_homeserver(self, subject: HomeserverSubject) -> None:
        user = "@user:remote.example"
        expected = UNKNOWN_TOKEN if subject.name == "dendrite" else subject.hidden
        assert subject.own(user) == expected
        if subject.name in ("synapse", "dendrite"):
            assert refusal(subject.whoami(user)) == expected

    def test_wrong_token(self, subject: HomeserverSubject) -> None:
        user = subject.people["joined"]
        assert refusal(subject.whoami(user, "no-token")) == UNKNOWN_TOKEN
        assert refusal(subject.read(user, POLICY, token="no-token")) == UNKNOWN_TOKEN

    @pytest.mark.parametrize("room", ["!nowhere:remote.example", "!nowhere", "nowhere"])
    def test_a_room_that_there_is_not(self, subject: HomeserverSubject, room: str) -> None:
        assert subject.own(subject.people["joined"], room) == subject.hidden

    def test_a_world_readable_room(self, subject: HomeserverSubject) -> None:
        """There is no membership, so nobody is taken for a member who only reads."""
        user, room = subject.people["never"], subject.world
        assert subject.own(user, room) == NOT_FOUND
        policy = seen(subject.read(user, POLICY, room=room))
        assert policy == (FORBIDDEN if subject.name == "dendrite" else AFTER)
        assert seen(subject.read(user, ABSENT, room=room)) == NOT_FOUND
        assert (
            seen(subject.read(user, "m.room.member", subject.admin, room))["membership"] == "join"
        )

    def test_a_room_that_some_may_join_is_hidden_until_they_do(
        self, subject: HomeserverSubject
    ) -> None:
        assert subject.own(subject.people["never"], subject.restricted) == subject.hidden
        assert subject.own(subject.people["joined"], subject.restricted) == "join"

    def test_who_is_no_application_service_reads_as_themselves(
        self, subject: HomeserverSubject
    ) -> None:
        answer = subject.read(subject.people["never"], POLICY, token=subject.admin_token)
        assert seen(answer) == AFTER

    def test_an_admins_token(self, subject: HomeserverSubject) -> None:
        unknown = (404, "M_UNRECOGNIZED")
        base = f"/_synapse/admin/v1/rooms/{quote(subject.room)}"
        state = subject.get(f"{base}/state?type={POLICY}", subject.admin_token)
        members = subject.get(f"{base}/members", subject.admin_token)
        if subject.name in ("continuwuity", "dendrite"):
            assert (refusal(state), refusal(members)) == (unknown, unknown)
            return
        assert [event["content"] for event in state.json()["state"]] == [AFTER]
        there = {subject.people[who] for who in IN_THE_ROOM}
        assert set(members.json()["members"]) == {subject.admin, *there}
        nowhere = subject.get("/_synapse/admin/v1/rooms/!no/state", subject.admin_token)
        assert refusal(nowhere) == (NOT_FOUND if subject.name == "synapse" else (500, "M_UNKNOWN"))

    @pytest.mark.parametrize("who", PEOPLE)
    def test_the_rooms_of_a_user(self, subject: HomeserverSubject, who: str) -> None:
        path = f"/_synapse/admin/v1/users/{quote(subject.people[who])}/joined_rooms"
        answer = subject.get(path, subject.admin_token)
        if subject.name != "synapse":
            assert refusal(answer) == (404, "M_UNRECOGNIZED")
            return
        assert (subject.room in answer.json()["joined_rooms"]) == (who in IN_THE_ROOM)

    def test_the_rooms_of_a_user_who_does_not_exist(self, subject: HomeserverSubject) -> None:
        """Where there is such a question, the answer is that they are in none."""
        nobody = quote(f"@user-nobody:{subject.server_name}")
        path = f"/_synapse/admin/v1/users/{nobody}/joined_rooms"
        answer = subject.get(path, subject.admin_token)
        if subject.name == "synapse":
            assert answer.json() == {"joined_rooms": [], "total": 0}
        else:
            assert refusal(answer) == (404, "M_UNRECOGNIZED")
