"""How a setting is declared."""

from attrs import frozen

from lotus_guard.run.setting import (
    Texts,
    Variable,
    composed,
    help_of,
    setting,
    settings_of,
    texts_of,
    variables_of,
)


def read_number(name: str, text: str) -> int:
    assert name == "LOTUS_GUARD_SIZE"
    return int(text)


def read_both(texts: Texts) -> str:
    return texts["ONE"] + texts["OTHER"]


@frozen
class Settings:
    size: int = setting("SIZE", "3", "how large", read_number)
    both: str = composed(
        read_both, Variable("ONE", "a", "one"), Variable("OTHER", "", "the other"), repr=False
    )
    neither: str = composed(lambda texts: texts.get("HOME", "nowhere"))


def test_a_declaration_has_name_default_and_help() -> None:
    assert variables_of(Settings) == [
        Variable("LOTUS_GUARD_SIZE", "3", "how large"),
        Variable("ONE", "a", "one"),
        Variable("OTHER", "", "the other"),
    ]


def test_defaults_stand_in_for_what_is_not_set() -> None:
    texts = texts_of(Settings, {"ONE": "", "HOME": "/root"})
    assert texts == {"LOTUS_GUARD_SIZE": "3", "ONE": "", "OTHER": "", "HOME": "/root"}


def test_each_field_is_read_from_its_variables() -> None:
    texts = texts_of(Settings, {"LOTUS_GUARD_SIZE": "7", "OTHER": "b"})
    values = {name: each.read(texts) for name, each in settings_of(Settings).items()}
    assert values == {"size": 7, "both": "ab", "neither": "nowhere"}


def test_options_of_the_field_are_taken() -> None:
    assert "secret" not in repr(Settings(size=1, both="secret", neither=""))


def test_help_lists_each_variable_with_its_default() -> None:
    assert help_of(variables_of(Settings)).splitlines() == [
        "  LOTUS_GUARD_SIZE [3]",
        "      how large",
        "  ONE [a]",
        "      one",
        "  OTHER",
        "      the other",
    ]
