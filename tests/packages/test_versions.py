"""One version, in all places where one is written."""

import re
from pathlib import Path

from lotus_guard.version import VERSION
from tests.real.install import LIVEKIT, PACKAGES

ROOT = Path(__file__).resolve().parents[2]
DEBIAN = ROOT / "deploy" / "debian"
COMPOSE = (ROOT / "deploy" / "container" / "compose.yaml").read_text()


def test_the_debian_package_has_the_version_of_the_release() -> None:
    first = (DEBIAN / "changelog").read_text().splitlines()[0]
    assert first == f"lotus-guard ({VERSION}) unstable; urgency=medium"


def test_the_stack_to_try_is_the_one_that_is_tested() -> None:
    synapse = PACKAGES[0].partition("==")[2]
    assert f"synapse:${{SYNAPSE_TAG:-v{synapse}}}" in COMPOSE
    livekit = LIVEKIT.partition("@")[2]
    assert f"livekit-server:${{LIVEKIT_TAG:-{livekit}}}" in COMPOSE


def test_the_units_that_are_packaged_name_nothing_but_the_environment_and_the_readme() -> None:
    """What deploy/debian/rules replaces of /opt; more would stop the build."""
    for unit in (ROOT / "systemd").glob("voice-limit-guard.*"):
        for path in re.findall(r"/opt/lotus-guard/\S+", unit.read_text()):
            left = re.sub(r"^/opt/lotus-guard/(current/)?venv/bin/\w+", "", path)
            left = re.sub(r"^/opt/lotus-guard/(current/source/)?[A-Za-z]+\.md", "", left)
            assert left == "", f"{unit.name}: {path}"
