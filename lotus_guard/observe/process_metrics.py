"""What this process uses, and which release it runs.

The names are those of Prometheus' own clients. Their collector shows nothing where /proc/stat
cannot be read, and `ProcSubset=pid` in our unit hides it; and it lists the descriptors, which takes
67 ms for 10,000 of them. So the numbers are read here.
"""

import os
import platform
import resource
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from attrs import define, field
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from lotus_guard.observe.families import Families
from lotus_guard.version import VERSION

PROC = Path("/proc/self")
_STARTED = 19
"""Where the start of a process stands in its `stat`, counted from behind its name (proc(5))."""


@define(eq=False)
class OwnProcess:
    """CPU, memory, descriptors and start of this process; CPU alone where there is no /proc."""

    proc: Path = PROC
    _started: dict[str, float] = field(init=False, factory=dict)
    """Read once: a clock that is put right must not look like a restart."""

    def __attrs_post_init__(self) -> None:
        with suppress(OSError, ValueError, IndexError):
            self._started = {"process_start_time_seconds": round(self._start(), 2)}

    def describe(self) -> Iterable[Metric]:
        """The families, without a sample."""
        return [self._cpu(None), *self._gauges({})]

    def collect(self) -> Iterable[Metric]:
        """The families, with what holds now."""
        values = dict(self._started)
        with suppress(OSError, ValueError, IndexError):
            values |= self._memory() | self._descriptors()
        return [self._cpu(time.process_time()), *self._gauges(values)]

    def _cpu(self, seconds: float | None) -> Metric:
        text = "CPU time used, in user and system mode"
        return CounterMetricFamily("process_cpu_seconds_total", text, value=seconds)

    def _gauges(self, values: dict[str, float]) -> list[Metric]:
        texts = {
            "process_resident_memory_bytes": "Resident memory",
            "process_open_fds": "Open file descriptors",
            "process_max_fds": "Maximum number of open file descriptors",
            "process_start_time_seconds": "When the process started, in seconds since the epoch",
        }
        return [GaugeMetricFamily(name, text, values.get(name)) for name, text in texts.items()]

    def _memory(self) -> dict[str, float]:
        resident = int((self.proc / "statm").read_bytes().split()[1])
        return {"process_resident_memory_bytes": float(resident * resource.getpagesize())}

    def _descriptors(self) -> dict[str, float]:
        directory = self.proc / "fd"
        number = directory.stat().st_size  # since Linux 6.2; before that 0, and they are listed
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        bound = {} if most == resource.RLIM_INFINITY else {"process_max_fds": float(most)}
        return {"process_open_fds": float(number or len(os.listdir(directory))), **bound}

    def _start(self) -> float:
        behind_name = (self.proc / "stat").read_bytes().rpartition(b")")[2].split()
        after_boot = int(behind_name[_STARTED]) / os.sysconf("SC_CLK_TCK")
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + after_boot


def show_process(families: Families) -> None:
    """Expose what this process uses, and its release."""
    families.registry.register(OwnProcess())
    families.gauge(
        "lotus_guard_build_info",
        "The release of lotus-guard, and the Python that runs it; the value is always 1",
        ("version", "python"),
    ).labels(VERSION, platform.python_version()).set(1)
