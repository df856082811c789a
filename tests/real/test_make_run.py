"""`make run` on a clean checkout, as the README says it."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

from tests.packages.tools import copy_source
from tests.real.processes import free_port, http, listens, until

MOST_BYTES = 150 * 1024 * 1024
"""What running may take on the disk; with the tools of developers it was 402 MB."""
INSTALL_SECONDS = 300.0


@frozen
class Ran:
    checkout: Path
    said: Path
    guard: str
    process: subprocess.Popen[bytes]

    @property
    def text(self) -> str:
        return self.said.read_text()

    def address(self, pattern: str) -> str:
        found = re.search(pattern, self.text)
        assert found is not None, self.text
        return found[1]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """`make run` with its address alone in the environment."""
    folder = tmp_path_factory.mktemp("clean")
    checkout, said, port = copy_source(folder / "source"), folder / "said", free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME")},
        **{name: value for name, value in os.environ.items() if name.startswith("PIP_")},
        "TMPDIR": str(folder),
        "LOTUS_GUARD_LISTEN": f"tcp:{port}:interface=127.0.0.1",
    }
    with said.open("wb") as out:
        process = subprocess.Popen(
            ["make", "run"],
            cwd=checkout,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until("it listens", lambda: listens(port) or process.poll() is not None, INSTALL_SECONDS)
        assert process.poll() is None, said.read_text()
        yield Ran(checkout, said, f"http://127.0.0.1:{port}", process)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(20.0)


def test_it_installs_what_running_needs_and_no_more(ran: Ran) -> None:
    there = ran.checkout / ".venv-run"
    assert not (ran.checkout / ".venv").exists()
    size = sum(path.lstat().st_size for path in there.rglob("*") if path.is_file())
    assert size < MOST_BYTES, f"{size / 1024 / 1024:.0f} MB"
    names = {path.name for path in (there / "bin").iterdir()}
    assert {"twistd", "lotus-guard"} <= names
    assert names.isdisjoint({"pytest", "ruff", "mypy", "playwright"})


def test_it_listens_where_it_was_told(ran: Ran) -> None:
    assert f"The guard is at {ran.guard}, in front of a sandbox" in ran.text
    assert http("GET", ran.guard + "/").status == 200


def test_its_rooms_are_alive(ran: Ran) -> None:
    operators = ran.address(r"Status page: (http://[\d.:]+)/")
    until("people are in a call", lambda: b"!kitchen:sandbox" in rooms(operators))
    refused = re.compile(r"\[([a-z2-7]{8})\] refused in !kitchen:sandbox")
    until("somebody is refused", lambda: refused.search(ran.text))
    reference = ran.address(refused.pattern)
    lines = [
        line.replace("REFERENCE", reference)
        for line in ran.text.splitlines()
        if " --guard http" in line
    ]
    said = [
        subprocess.run(
            line, shell=True, cwd=ran.checkout, capture_output=True, text=True, check=True
        )
        for line in lines
    ]
    assert len(said) == 3
    assert all("!kitchen:sandbox" in done.stdout for done in said)
    assert reference in said[-1].stdout


def rooms(operators: str) -> bytes:
    return http("GET", operators + "/rooms").body


def test_its_lines_to_paste_work_in_a_shell(ran: Ran) -> None:
    asked = [line.strip() for line in ran.text.splitlines() if line.startswith("  curl ")]
    statuses = []
    for line in asked[1:4]:
        shell = line.replace("curl -s ", "curl -s -o /dev/null -w '%{http_code}' ", 1)
        done = subprocess.run(shell, shell=True, capture_output=True, text=True, check=True)
        statuses.append(done.stdout)
    assert statuses == ["200", "200", "403"]


def test_ctrl_c_ends_it_and_nothing_is_left_over(ran: Ran) -> None:
    assert len(list(ran.checkout.parent.glob("lotus-guard-sandbox-*"))) == 1
    os.killpg(ran.process.pid, signal.SIGINT)
    ran.process.wait(20.0)
    assert list(ran.checkout.parent.glob("lotus-guard-sandbox-*")) == []
    assert "Traceback" not in ran.text
