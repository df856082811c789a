"""Fixtures and profiles that all tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted
from hypothesis import settings

from tests.world import World

settings.register_profile("project", deadline=None)
settings.load_profile("project")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A sandbox on loopback; the test starts the guard."""
    made = World(tmp_path)
    yield made
    pytest_twisted.blockon(made.stop())
