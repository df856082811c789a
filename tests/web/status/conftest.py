"""A status page with two rooms and a dependency."""

import pytest

from tests.web.status.watched import Watched, dependency, room


@pytest.fixture
def watched() -> Watched:
    return Watched(rooms=[room(1), room(2)], dependencies=[dependency("synapse", None)])
