"""Fixtures of the check's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.check.checked_stack import CheckedStack, checked_stack
from tests.world import World


@pytest.fixture
def stack(world: World, tmp_path: Path) -> Iterator[CheckedStack]:
    with checked_stack(world, tmp_path) as made:
        yield made
