"""What processes have used, by /proc; and that none is left behind."""

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

from bench.tools import cpu, cpu_of_all, largest, rss
from tests.real.processes import ROOT, until

MIB = 1024 * 1024


def _busy(seconds: float, megabytes: int) -> None:
    held = bytearray(os.urandom(MIB) * megabytes)
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass
    del held


def test_what_a_child_uses_is_in_what_all_use() -> None:
    all_before, before = cpu_of_all(), cpu(os.getpid())
    child = multiprocessing.get_context("fork").Process(target=_busy, args=(0.3, 1))
    child.start()
    assert child.pid is not None
    while cpu(child.pid) < 0.25:
        time.sleep(0.01)
    assert cpu(os.getpid()) - before >= 0.25
    assert cpu_of_all() - all_before >= 0.25
    child.join()


def test_the_largest_is_one_of_those_that_are_added_up() -> None:
    alone = rss(os.getpid())
    child = multiprocessing.get_context("fork").Process(target=_busy, args=(60.0, 300))
    child.start()
    assert child.pid is not None
    try:
        end = time.monotonic() + 30.0
        while rss(child.pid) < 300.0 and time.monotonic() < end:
            time.sleep(0.01)
        assert largest(os.getpid()) >= 300.0
        assert rss(os.getpid()) >= largest(os.getpid()) + alone / 2
    finally:
        child.kill()
        child.join()


PART = """
import time
from pathlib import Path
from bench.tools import finish, ports, running

def work():
    (port,) = ports(1)
    command = ["{python}", "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    with running("server", command, Path("."), port) as pid:
        Path("pid").write_text(str(pid))
        time.sleep(60)

finish(work, None)
"""


def test_a_part_that_is_told_to_end_leaves_nothing_behind(tmp_path: Path) -> None:
    part = PART.format(python=sys.executable)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", part], cwd=tmp_path, env=env)
    said = tmp_path / "pid"
    until("its server runs", lambda: said.exists() and said.read_text(), 60.0)
    process.terminate()
    process.wait(30.0)
    assert not Path(f"/proc/{said.read_text()}").exists()
