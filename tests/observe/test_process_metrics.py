"""What the process uses, as it is on this machine."""

import os
import platform
import resource
import time
from pathlib import Path

import pytest

from lotus_guard.observe.process_metrics import OwnProcess, show_process
from lotus_guard.version import VERSION
from tests.observe.metered import Metered

PAGE = resource.getpagesize()


def values(process: OwnProcess) -> dict[str, float]:
    return {
        sample.name.removeprefix("process_"): sample.value
        for family in process.collect()
        for sample in family.samples
    }


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A process of 3 pages in memory, with 2 descriptors, begun 5 s after the boot."""
    behind = ["S", *["0"] * 18, str(5 * os.sysconf("SC_CLK_TCK")), *["0"] * 9]
    (tmp_path / "stat").write_text(f"1 (a) name) {' '.join(behind)}\n")
    (tmp_path / "statm").write_text("10 3 2 1 0 4 0\n")
    (tmp_path / "fd").mkdir()
    return tmp_path


def test_it_says_what_proc_says(proc: Path) -> None:
    found = values(OwnProcess(proc))
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    assert found["start_time_seconds"] == pytest.approx(booted + 5.0, abs=0.1)
    assert found["resident_memory_bytes"] == 3 * PAGE
    assert found["max_fds"] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_the_start_stays_when_a_clock_is_put_right(proc: Path) -> None:
    process = OwnProcess(proc)
    begun = values(process)["start_time_seconds"]
    (proc / "stat").unlink()
    assert values(process)["start_time_seconds"] == begun


def test_it_counts_the_descriptors_of_this_process() -> None:
    process = OwnProcess()
    before = values(process)["open_fds"]
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(7)]
    try:
        assert values(process)["open_fds"] == before + 7
    finally:
        for each in opened:
            os.close(each)


def test_it_measures_the_cpu_time_of_this_process() -> None:
    process = OwnProcess()
    before = values(process)["cpu_seconds_total"]
    while time.process_time() < before + 0.02:
        pass
    assert 0.02 <= values(process)["cpu_seconds_total"] - before < 2.0


def test_without_proc_what_is_there_is_shown_and_no_more(tmp_path: Path) -> None:
    assert values(OwnProcess(tmp_path)).keys() == {"cpu_seconds_total"}


def test_the_release_is_in_the_labels() -> None:
    metered = Metered()
    show_process(metered.families)
    labels = {"version": VERSION, "python": platform.python_version()}
    assert metered.value("build_info", **labels) == 1.0
