"""Fixtures of the sandbox's tests."""

import pytest

from tests.sandbox.sfu import Sfu


@pytest.fixture
def sfu() -> Sfu:
    return Sfu()
