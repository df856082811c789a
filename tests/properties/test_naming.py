"""Aliases and identities agree with Go's encoding/json, and with two known names."""

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.naming import (
    go_marshal,
    guess_legacy_user,
    identity_of,
    known_identities,
    known_livekit_rooms,
    legacy_identity_of,
    livekit_room_of,
    plain_identity_of,
    plain_json,
    user_of_legacy,
)
from tests.properties.oracle import Oracle

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
oracle_settings = settings(
    max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@oracle_settings
@given(strings=st.lists(TEXT, max_size=4))
@example(strings=['<&>\u2028\u2029\x7f\x00\b\f\n\r\t"\\/é\U0001f600'])
def test_go_marshal_is_gos(oracle: Oracle, strings: list[str]) -> None:
    assert go_marshal(strings) == oracle.marshal(strings or [])


ODD = "<>&\u2028\u2029"


@oracle_settings
@given(strings=st.lists(TEXT | st.text(ODD + 'a\\u003c"'), max_size=4))
def test_plain_json_is_gos_but_for_what_go_escapes(oracle: Oracle, strings: list[str]) -> None:
    """serde_json escapes quotes, backslashes and controls, as Go does, and nothing else."""
    stand_ins = {ord(char): chr(0xE000 + number) for number, char in enumerate(ODD)}
    back = {0xE000 + number: char for number, char in enumerate(ODD)}
    if any(chr(code) in text for text in strings for code in back):
        return
    gos = oracle.marshal([text.translate(stand_ins) for text in strings])
    assert plain_json(strings).decode() == gos.decode().translate(back)


NAMES = TEXT | st.text(ODD + "ab")


@given(user=NAMES, device=NAMES, member=NAMES)
def test_an_identity_of_either_generation_is_known_and_another_persons_is_not(
    user: str, device: str, member: str
) -> None:
    known = set(known_identities(UserId(user), device, member))
    assert {identity_of(UserId(user), device, member), plain_identity_of(UserId(user), member)} <= (
        known
    )
    others = (
        (f"{user}x", device, member),
        (user, f"{device}x", f"{member}x"),
        (f"{user},{device}", "", member),
    )
    for other, *rest in others:
        assert known.isdisjoint(known_identities(UserId(other), *rest))


@given(room=NAMES, slot=NAMES)
def test_a_livekit_room_of_either_generation_is_known(room: str, slot: str) -> None:
    known = list(known_livekit_rooms(RoomId(room), slot))
    assert known[0] == livekit_room_of(RoomId(room), slot)
    assert len(known) == (5 if set(ODD) & set(room + slot) else 4)


SERVERS = st.sampled_from(["s", "s.example", "s:8448", "[::1]", "[2001:db8::1]:443", "127.0.0.1:1"])


@given(local=st.from_regex(r"[a-z0-9._=/+-]{0,12}", fullmatch=True), server=SERVERS, device=TEXT)
def test_the_exact_device_comes_off_a_legacy_identity(local: str, server: str, device: str) -> None:
    user = UserId(f"@{local}:{server}")
    assert user_of_legacy(legacy_identity_of(user, device), device) == user


@given(server=SERVERS, device=st.from_regex(r"[A-Z]{1,10}", fullmatch=True))
def test_an_ordinary_legacy_identity_is_read_without_its_device(server: str, device: str) -> None:
    user = UserId(f"@u:{server}")
    assert guess_legacy_user(legacy_identity_of(user, device)) == user
