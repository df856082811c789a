"""A made-up host for each test; pip's own environment is made once and copied."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deploy.madeup import Host

HERE = Path(__file__).parent
LONG = (
    "test_install",
    "test_homeserver",
    "test_auto_deploy",
    "test_kill",
    "test_revert",
    "test_real_release",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents and item.path.stem in LONG:
            item.add_marker(pytest.mark.real)


def lacks(what: str) -> None:
    """Skip for want of something, or fail where nothing may be skipped."""
    if os.environ.get("REQUIRE_REAL_TESTS"):
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the deployer makes first of all on a new host: it takes four seconds."""
    if shutil.which("git") is None:
        lacks("git is not installed: the deployer cannot fetch a branch")
    directory = tmp_path_factory.mktemp("tools") / "tools"
    subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True)
    return directory


@contextmanager
def made_up(directory: Path, tools: Path) -> Iterator[Host]:
    """Make a host without the guard, a good revision in its repository."""
    made = Host(directory)
    shutil.copytree(tools, made.opt / "tools", symlinks=True)
    made.repository.commit()
    try:
        yield made
    finally:
        print(made.dump())
        made.stop()


@pytest.fixture
def host(tmp_path: Path, tools: Path) -> Iterator[Host]:
    """A host without the guard."""
    with made_up(tmp_path, tools) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, tools: Path) -> Iterator[Host]:
    """A host for all tests of a module that want one with the guard in place."""
    with made_up(tmp_path_factory.mktemp("shared"), tools) as made:
        yield made


@pytest.fixture
def installed(shared: Host) -> Host:
    """A host with the guard in place and well, whatever the test before has left.

    The installer brings it there: that is what it is for.
    """
    shared.repair_upstream()
    if shared.repository.behaviour != "good":
        shared.repository.commit()
    done = shared.install()
    assert done.returncode == 0, done.stdout
    assert shared.answers == shared.newest
    return shared
