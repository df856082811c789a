"""The homeserver's token is read off the registration that lk-jwt-service reads."""

from pathlib import Path

import pytest

from lotus_guard.enforce.credentials import Unusable
from lotus_guard.run.config import Faulty, read_config
from lotus_guard.run.registration import read_hs_token
from tests.test_docs import GOOD

SECRET = "hs-token-that-nobody-may-see"


def registration(directory: Path, text: str) -> str:
    path = directory / "registration.yaml"
    path.write_text(text)
    return str(path)


def test_the_token_is_read(tmp_path: Path) -> None:
    path = registration(tmp_path, f"id: x\nas_token: a\nhs_token: ' {SECRET} '\nurl: null\n")
    assert read_hs_token("NAME", path) == SECRET


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "no hs_token in it"),
        ("[]", "no hs_token in it"),
        ("id: x", "no hs_token in it"),
        ("hs_token:", "no hs_token in it"),
        ("hs_token: ' '", "no hs_token in it"),
        ("hs_token: 7", "its hs_token is no text (quote it)"),
        ("hs_token: yes", "its hs_token is no text (quote it)"),
        (f"{SECRET}: [", "not YAML"),
        ("\0", "not YAML"),
        (f"hs_token: {SECRET}\nwhen: 2024-99-99", "not YAML"),
        (f"hs_token: {SECRET}\nnested: {'[' * 30_000}", "not YAML"),
        (f"hs_token: {SECRET}\nis: !!bool {SECRET}", "not YAML"),
        (f"hs_token: {SECRET}\nwhen: !!timestamp {SECRET}", "not YAML"),
    ],
)
def test_what_is_no_registration_is_a_fault_that_shows_nothing_of_it(
    tmp_path: Path, text: str, found: str
) -> None:
    with pytest.raises(Unusable) as raised:
        read_hs_token("NAME", registration(tmp_path, text))
    assert str(raised.value).startswith(f"NAME: {found}; ")
    assert SECRET not in str(raised.value)


def test_the_file_goes_before_the_variable_and_one_that_is_missing_is_a_fault(
    tmp_path: Path,
) -> None:
    path = registration(tmp_path, f"hs_token: {SECRET}")
    named = {"LIVEKIT_AS_REGISTRATION_FILE": path, "LIVEKIT_HS_TOKEN": "another"}
    assert read_config({**GOOD, **named}).credentials.hs_token.value == SECRET
    plain = read_config({**GOOD, "LIVEKIT_HS_TOKEN": " another "})
    assert plain.credentials.hs_token.value == "another"
    assert read_config(GOOD).credentials.hs_token.value == ""
    with pytest.raises(Faulty):
        read_config({**GOOD, "LIVEKIT_AS_REGISTRATION_FILE": str(tmp_path / "none")})
