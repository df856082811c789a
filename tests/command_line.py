"""`lotus-guard` run as a process, as operators run it."""

import os
import sys
from pathlib import Path

from twisted.internet.utils import getProcessOutputAndValue

from tests.world import World

ROOT = Path(__file__).resolve().parents[1]
OURS = ("LOTUS_GUARD_", "LIVEKIT_", "COLUMNS", "LINES", "POLICY_")
"""With these begin the variables that would make a difference to a command."""


def neutral_environment() -> dict[str, str]:
    """The environment of the tests, without what would make a difference to a command."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OURS)}


async def run(world: World, *arguments: str, **more: str) -> tuple[str, str, int]:
    """Run the command as an operator does, beside the guard of this process."""
    port = world.operators.rpartition(":")[2] if world.operators else "1"
    environment = {
        **neutral_environment(),
        **world.sandbox.environment(),
        "PYTHONPATH": str(ROOT),
        "LOTUS_GUARD_STATE": str(world.directory / "state.sqlite"),
        "LOTUS_GUARD_ADMIN_LISTEN": f"tcp:{port}:interface=127.0.0.1",
        **more,
    }
    out, err, code = await getProcessOutputAndValue(
        sys.executable,
        ["-m", "lotus_guard.cli", *arguments],
        environment,
        path=str(world.directory),
    )
    return out.decode(), err.decode(), code
