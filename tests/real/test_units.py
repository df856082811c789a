"""systemd's own tool reads the units, and finds the service well shut in."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.lib import files
from deploy.lib.homeserver import KNOWS, LISTEN, LISTENS, Door
from deploy.lib.host import GUARD, WAITING, Host
from deploy.lib.install import CONDITIONS
from deploy.lib.unit import Service
from tests.real.processes import ROOT
from tests.real.tools import needed

UNITS = sorted(path.name for path in (ROOT / "systemd").glob("*.*") if path.is_file())
# Keys that are newer than Debian 12's systemd, which leaves them aside.
NEWER = ("RestartSteps", "RestartMaxDelaySec")


@pytest.fixture
def analyze() -> str:
    return needed("systemd-analyze", "the Debian package systemd")


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units with a lk-jwt-service that the drop-in belongs to, and programs that are there."""
    copy = tmp_path / "units"
    shutil.copytree(ROOT / "systemd", copy)
    (copy / "lk-jwt-service.service").write_text("[Service]\nExecStart=/bin/true\n")
    for path in copy.glob("*.service"):
        path.write_text(
            re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", path.read_text(), flags=re.M)
        )
    return copy


@pytest.mark.parametrize("name", [*UNITS, "lk-jwt-service.service"])
def test_every_unit_is_in_order(analyze: str, units: Path, name: str) -> None:
    assert verified(analyze, units, name) == (0, [])


def verified(analyze: str, units: Path, name: str) -> tuple[int, list[str]]:
    """What systemd says of a unit, and its complaints."""
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(units / name)],
        env={"SYSTEMD_UNIT_PATH": f"{units}:", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    complaints = [
        line for line in done.stderr.splitlines() if not any(key in line for key in NEWER)
    ]
    return done.returncode, complaints


def test_what_the_installer_adds_is_in_order(analyze: str, units: Path, tmp_path: Path) -> None:
    host = Host(tmp_path / "root")
    registration = {"LIVEKIT_AS_REGISTRATION_FILE": "/etc/registration.yaml"}
    files.write(host.path("/etc/registration.yaml"), "hs_token: x\n")
    door = Door(host, registration, Service({LISTEN: "tcp:8069:interface=192.168.1.20"}))
    drop_ins = {WAITING: door.waits([(units / GUARD).read_text()]), KNOWS: door.knows}
    drop_ins[LISTENS] = door.listens
    drop_ins |= {f"{unit}.d/in-place.conf": text for unit, text in CONDITIONS.items()}
    for name, text in drop_ins.items():
        files.write(units / name, text)
    for name in UNITS:
        assert verified(analyze, units, name) == (0, [])
    files.write(units / WAITING, f"{door.waits([(units / GUARD).read_text()])}Nonsense=1\n")
    assert verified(analyze, units, GUARD)[1] != []


def test_the_service_is_shut_in(analyze: str) -> None:
    done = subprocess.run(
        [
            analyze,
            "security",
            "--offline=true",
            "--threshold=15",
            str(ROOT / "systemd" / "voice-limit-guard.service"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    print(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout


def test_the_drop_in_moves_upstream_to_loopback() -> None:
    text = (ROOT / "systemd" / "lk-jwt-service.service.d" / "port.conf").read_text()
    assert "Environment=LIVEKIT_JWT_BIND=127.0.0.1:8071\n" in text
