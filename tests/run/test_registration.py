"""The homeserver's token is read off the registration that lk-jwt-service reads."""

from pathlib import Path

import pytest

from lotus_guard.enforce.credentials import Unusable
from lotus_guard.run.config import read_config
from lotus_guard.run.registration import read_as_token, read_as_token_if_any, read_hs_token
from lotus_guard.run.setting import Faulty
from tests.test_docs import GOOD

SECRET = "hs-token-that-nobody-may-see"
USERS = "namespaces: {users: [{regex: '@.*:s', exclusive: false}]}"
OURS = "LOTUS_GUARD_AS_REGISTRATION_FILE"


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
        ("", "it has no hs_token"),
        ("[]", "it has no hs_token"),
        ("id: x", "it has no hs_token"),
        ("hs_token:", "it has no hs_token"),
        ("hs_token: ' '", "it has no hs_token"),
        ("hs_token: 7", "its hs_token is not a string (put it in quotes)"),
        ("hs_token: yes", "its hs_token is not a string (put it in quotes)"),
        (f"{SECRET}: [", "not YAML"),
        ("\0", "not YAML"),
        (f"hs_token: {SECRET}\nwhen: 2024-99-99", "not YAML"),
        (f"hs_token: {SECRET}\nnested: {'[' * 30_000}", "not YAML"),
        (f"hs_token: {SECRET}\nis: !!bool {SECRET}", "not YAML"),
        (f"hs_token: {SECRET}\nwhen: !!timestamp {SECRET}", "not YAML"),
        ("id: [x", "not YAML"),
        ("x", "it has no hs_token"),
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


def test_the_application_services_token_is_read(tmp_path: Path) -> None:
    path = registration(tmp_path, f"id: x\nas_token: ' {SECRET} '\nhs_token: h\n{USERS}\n")
    assert read_as_token("NAME", path) == SECRET
    assert read_as_token_if_any("NAME", path) == SECRET


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"hs_token: {SECRET}\n{USERS}", "it has no as_token"),
        (f"as_token: 7\n{USERS}", "its as_token is not a string (put it in quotes)"),
        (f"as_token: '{SECRET} b'\n{USERS}", "its as_token has characters that no token has"),
        (f"as_token: '{SECRET}\u00e9'\n{USERS}", "its as_token has characters that no token has"),
        (f"as_token: {SECRET}", "it names no users"),
        (f"as_token: {SECRET}\nnamespaces: []", "it names no users"),
        (f"as_token: {SECRET}\nnamespaces: {{users: []}}", "it names no users"),
        (f"as_token: {SECRET}\nnamespaces: {{users: [x, {{}}]}}", "it names no users"),
        (f"as_token: {SECRET}\nnamespaces: {{rooms: [{{regex: x}}]}}", "it names no users"),
    ],
)
def test_one_of_ours_must_serve_and_one_of_anothers_need_not(
    tmp_path: Path, text: str, found: str
) -> None:
    path = registration(tmp_path, text)
    with pytest.raises(Unusable) as raised:
        read_as_token("NAME", path)
    assert str(raised.value).startswith(f"NAME: {found}; ")
    assert SECRET not in str(raised.value)
    assert read_as_token_if_any("NAME", path) == ""


def as_token_of(**settings: str) -> str:
    return read_config({**GOOD, **settings}).as_token


def test_a_registration_of_our_own_goes_before_lk_jwt_services_and_that_before_the_variable(
    tmp_path: Path,
) -> None:
    ours = registration(tmp_path, f"as_token: ours\n{USERS}")
    (tmp_path / "lk").mkdir()
    theirs = registration(tmp_path / "lk", f"hs_token: h\nas_token: theirs\n{USERS}")
    named = {"LIVEKIT_AS_REGISTRATION_FILE": theirs, "LIVEKIT_AS_TOKEN": "plain"}
    assert as_token_of(**named, **{OURS: ours}) == "ours"
    assert as_token_of(**named) == "theirs"
    assert as_token_of(LIVEKIT_AS_TOKEN=" plain ") == "plain"
    assert as_token_of() == ""
    config = read_config({**GOOD, **named, OURS: ours})
    assert config.credentials.hs_token.value == "h", "which the homeserver proves itself by"


def test_where_lk_jwt_services_registration_names_no_users_all_is_as_before(
    tmp_path: Path,
) -> None:
    theirs = registration(tmp_path, f"hs_token: h\nas_token: {SECRET}")
    named = {"LIVEKIT_AS_REGISTRATION_FILE": theirs, "LIVEKIT_AS_TOKEN": "plain"}
    config = read_config({**GOOD, **named})
    assert (config.as_token, config.synapse_token) == ("", "token")
    (tmp_path / "registration.yaml").write_text(f"hs_token: h\nas_token: {SECRET}\n{USERS}")
    config.credentials.reload()
    assert config.as_token == SECRET, "once it names some, it serves"


@pytest.mark.parametrize("has_registration", [True, False])
def test_without_any_token_there_is_one_fault_that_names_both_ways(
    tmp_path: Path, has_registration: bool
) -> None:
    given = {**GOOD, "LOTUS_GUARD_SYNAPSE_TOKEN": ""}
    if has_registration:
        given["LIVEKIT_AS_REGISTRATION_FILE"] = registration(tmp_path, "hs_token: h\nas_token: a")
    with pytest.raises(Faulty) as raised:
        read_config(given)
    (fault,) = raised.value.faults
    assert fault.startswith("LOTUS_GUARD_SYNAPSE_TOKEN: not set; ")
    assert OURS in fault


def test_one_of_ours_that_is_faulty_is_the_one_fault(tmp_path: Path) -> None:
    path = registration(tmp_path, "as_token: a")
    with pytest.raises(Faulty) as raised:
        read_config({**GOOD, "LOTUS_GUARD_SYNAPSE_TOKEN": "", OURS: path})
    (fault,) = raised.value.faults
    assert fault.startswith(f"{OURS}: it names no users; ")


def test_an_application_services_token_alone_is_enough(tmp_path: Path) -> None:
    path = registration(tmp_path, f"as_token: a\n{USERS}")
    config = read_config({**GOOD, "LOTUS_GUARD_SYNAPSE_TOKEN": "", OURS: path})
    assert (config.synapse_token, config.as_token) == ("", "a")


def test_a_faulty_registration_is_told_once(tmp_path: Path) -> None:
    path = registration(tmp_path, f"{SECRET}: [")
    with pytest.raises(Faulty) as raised:
        read_config({**GOOD, "LIVEKIT_AS_REGISTRATION_FILE": path})
    assert len(raised.value.faults) == 1
