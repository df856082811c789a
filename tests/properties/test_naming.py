"""Aliases and identities agree with Go's encoding/json, and with two known names."""

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lotus_guard.core.model import UserId
from lotus_guard.core.naming import (
    go_marshal,
    guess_legacy_user,
    legacy_identity_of,
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


SERVERS = st.sampled_from(["s", "s.example", "s:8448", "[::1]", "[2001:db8::1]:443", "127.0.0.1:1"])


@given(local=st.from_regex(r"[a-z0-9._=/+-]{0,12}", fullmatch=True), server=SERVERS, device=TEXT)
def test_the_exact_device_comes_off_a_legacy_identity(local: str, server: str, device: str) -> None:
    user = UserId(f"@{local}:{server}")
    assert user_of_legacy(legacy_identity_of(user, device), device) == user


@given(server=SERVERS, device=st.from_regex(r"[A-Z]{1,10}", fullmatch=True))
def test_an_ordinary_legacy_identity_is_read_without_its_device(server: str, device: str) -> None:
    user = UserId(f"@u:{server}")
    assert guess_legacy_user(legacy_identity_of(user, device)) == user
