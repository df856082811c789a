"""A probe is genuine for a while, and with our secret only."""

import pytest

from lotus_guard.core.probe import WINDOW, is_genuine, sign_probe

SECRET = "a-secret-of-32-characters-or-more"


@pytest.mark.parametrize("value", ["", ".", "1.2", "x.y", "\udcff.\udcff", "1" * 5000 + ".a"])
def test_what_nobody_signed_is_no_probe(value: str) -> None:
    assert not is_genuine(value, SECRET, 1000.0)


def test_a_probe_is_genuine_for_a_while_and_with_the_secret_only() -> None:
    value = sign_probe(SECRET, 1000.0)
    assert is_genuine(value, SECRET, 1000.0 + WINDOW)
    assert not is_genuine(value, SECRET, 1001.0 + WINDOW)
    assert not is_genuine(value, SECRET + "x", 1000.0)
