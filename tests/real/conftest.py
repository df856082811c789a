"""The real stack, started once for all tests of a kind."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.processes import REAL
from tests.real.stack import Stack, running_stack

HERE = Path(__file__).parent
BINARIES = ("livekit-server", "dendrite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.real)


def require_real() -> None:
    """Skip where the real servers are not installed, or fail where they must be."""
    if not all((REAL / "bin" / name).exists() for name in BINARIES):
        if os.environ.get("REQUIRE_REAL_TESTS"):
            pytest.fail("the real servers are not installed: run `make test`")
        pytest.skip("the real servers are not installed: run `make test`")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Polling alone: no module in Synapse, no webhooks."""
    require_real()
    with running_stack(tmp_path_factory.mktemp("polling")) as running:
        yield running


@pytest.fixture(scope="session")
def pushing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """With the module in Synapse, and LiveKit's webhooks through the guard."""
    require_real()
    with running_stack(tmp_path_factory.mktemp("pushing"), modules=True) as running:
        yield running
