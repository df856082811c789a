"""Names that look like settings and are none, and which one may be meant."""

import pytest

from lotus_guard.run.config import variable_names
from lotus_guard.run.unknown_settings import unknown_settings


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("LOTUS_GUARD_LOG_FORMT", "LOTUS_GUARD_LOG_FORMAT"),
        ("LOTUS_GUARD_SYNAPSE_TOKN_FROM_FILE", "LOTUS_GUARD_SYNAPSE_TOKEN_FROM_FILE"),
        ("LOTUS_GUARD_LISTEN_", "LOTUS_GUARD_LISTEN"),
        ("LOTUS_GUARD_LIVEKIT_SECRET", "LIVEKIT_SECRET"),
    ],
)
def test_a_misspelt_name_is_said_with_the_one_that_is_meant(wrong: str, meant: str) -> None:
    assert unknown_settings([wrong], variable_names()) == [
        f"{wrong}: unknown setting (did you mean {meant}?)"
    ]


def test_a_name_like_none_is_said_with_where_to_look() -> None:
    (line,) = unknown_settings(["LOTUS_GUARD_COFFEE"], variable_names())
    assert line == (
        "LOTUS_GUARD_COFFEE: unknown setting; expected one that `twistd lotus-guard --help` lists"
    )


def test_known_names_and_those_of_others_are_no_matter() -> None:
    assert unknown_settings(["PATH", "LIVEKIT_KEI", *variable_names()], variable_names()) == []
