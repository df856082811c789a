"""`make run` decides by the environment what it starts; `tests/real/test_make_run.py` starts it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lotus_guard.run.config import variable_names

ROOT = Path(__file__).resolve().parents[1]
REAL = (
    "LIVEKIT_URL",
    "LIVEKIT_KEY_FILE",
    "LOTUS_GUARD_UPSTREAM",
    "LOTUS_GUARD_LIVEKIT_URL",
    "LOTUS_GUARD_SYNAPSE_URL",
    "LOTUS_GUARD_SYNAPSE_TOKEN_FROM_FILE",
    "LOTUS_GUARD_AS_REGISTRATION_FILE",
)
OURS_ALONE = (
    "LOTUS_GUARD_LISTEN",
    "LOTUS_GUARD_ADMIN_LISTEN",
    "LOTUS_GUARD_LOG_FORMAT",
    "LOTUS_GUARD_LOG_USERS",
    "LOTUS_GUARD_MODE",
    "LOTUS_GUARD_GIVE_BACK",
)


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """An environment that is installed, whose twistd says what it is called with."""
    (tmp_path / "bin").mkdir()
    twistd = tmp_path / "bin" / "twistd"
    twistd.write_text('#!/bin/sh\necho "$@"\n')
    twistd.chmod(0o755)
    (tmp_path / ".installed").touch()
    return tmp_path


def started(there: Path, **environment: str) -> str:
    """What `make run` would start."""
    neutral = {"PATH": os.environ["PATH"], **environment}
    command = ["make", "--no-print-directory", "run", f"RUN={there}"]
    done = subprocess.run(
        command, cwd=ROOT, env=neutral, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.rpartition("lotus-guard")[2].strip()


def test_these_are_settings() -> None:
    assert {*REAL, *OURS_ALONE} <= set(variable_names())
    assert shutil.which("make")


def test_an_empty_environment_is_the_sandbox(there: Path) -> None:
    assert started(there) == "--sandbox"
    assert started(there, SANDBOX="--quiet-sandbox") == "--quiet-sandbox"


@pytest.mark.parametrize("name", OURS_ALONE)
def test_a_setting_of_the_guard_alone_still_is(there: Path, name: str) -> None:
    assert started(there, **{name: "tcp:8070"}) == "--sandbox"


@pytest.mark.parametrize("name", REAL)
def test_whatever_names_a_real_stack_is_none(there: Path, name: str) -> None:
    assert started(there, **{name: "http://127.0.0.1:8071"}) == ""
    assert started(there, **{name: ""}) == "--sandbox", "empty is not set"
