"""The real parts of the tests are of the versions that the pages name."""

import os

import pytest

from tools.versions import FLOATING, ask, recorded


@pytest.fixture(scope="module")
def asked() -> dict[str, str]:
    return ask()


@pytest.mark.parametrize("name", sorted(recorded()))
def test_a_part_says_the_recorded_version(asked: dict[str, str], name: str) -> None:
    """Debian's may be newer, never older; of the others it is this very version."""
    if name not in asked:
        sentence = f"{name} is not installed: run tests/real/install.py"
        if os.environ.get("REQUIRE_REAL_TESTS"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    if name in FLOATING:
        assert numbers(asked[name]) >= numbers(recorded()[name])
    else:
        assert asked[name] == recorded()[name], "then run: python -m tools.versions --ask"


def test_every_part_that_is_asked_is_recorded(asked: dict[str, str]) -> None:
    assert set(asked) <= set(recorded())


def numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]
