"""All benchmarks, within a bounded time; writes `build/bench.json` and `build/bench.md`.

    python -m bench [--quick] [--only token,live,enforcement,memory] [--out build]
                    [--against REVISION]

Each part runs in a process of its own. A part whose tools are missing is left out with a sentence;
one that fails ends the run with status 1, after the others. No figure does: targets are printed,
met or missed, for a person to judge on a machine that they know.
"""

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from attrs import frozen

from bench import targets
from bench.tools import LEFT_OUT, say
from tests.real.processes import ROOT

MODES = ("full", "quick", "smoke")
GRACE = 60.0
"""Seconds over its budget after which a part is ended by force."""


@frozen
class Part:
    """One benchmark, how long it may take, and its arguments in each mode."""

    title: str
    module: str
    arguments: dict[str, str]
    compares: bool = False
    """Whether it measures ours beside ours at another revision."""


PARTS = {
    "token": Part(
        "Token path",
        "bench.token_path",
        {
            "full": "--budget 330 --seconds 1.0",
            "quick": "--budget 30 --rounds 1 --seconds 0.5",
            "smoke": "--budget 60 --rounds 1 --seconds 0.3 --rooms 3 --users 2",
        },
        compares=True,
    ),
    "live": Part(
        "Live loop",
        "bench.live_loop",
        {
            "full": "--budget 120",
            "quick": "--budget 20 --rooms 100,1000 --shares 1,100 --seconds 0.2",
            "smoke": "--budget 10 --rooms 10,20 --shares 50 --seconds 0.1",
        },
    ),
    "enforcement": Part(
        "Enforcement delay on the real stack",
        "bench.enforcement",
        {
            "full": "--budget 110 --tries 10",
            "quick": "--budget 1 --tries 1",
            "smoke": "--budget 1 --tries 1",
        },
    ),
    "memory": Part(
        "Memory",
        "bench.memory",
        {
            "full": "--budget 450",
            "quick": "--budget 30 --users 4000 --rooms 400 --hours 0.2",
            "smoke": "--budget 30 --users 200 --rooms 20 --hours 0.03",
        },
    ),
}


def measured(part: Part, mode: str, out: Path, against: str = "") -> dict[str, Any]:
    """Run a part; returns its results, `left_out` with a sentence, or `failed`.

    `against` is the revision that ours is held against, where the part does that.
    """
    path = out / f"{part.module}.json"
    path.unlink(missing_ok=True)
    arguments = part.arguments[mode].split()
    if against and part.compares:
        arguments += ["--against", against]
    budget = float(arguments[arguments.index("--budget") + 1])
    begun = time.monotonic()
    command = [sys.executable, "-m", part.module, *arguments, "--json", str(path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, env=_environment())
    try:
        status = process.wait(2 * budget + GRACE)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait()
        return {"failed": f"it was not done after {2 * budget + GRACE:.0f} s"}
    if status == LEFT_OUT:
        return {"left out": path.read_text()}
    if status or not path.exists():
        return {"failed": f"it ended with status {status}"}
    found: dict[str, Any] = json.loads(path.read_text())
    path.unlink()
    return {**found, "wall": time.monotonic() - begun}


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def machine() -> dict[str, Any]:
    """Describe where this runs."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpus": os.cpu_count(),
        "model": models[0] if models else "unknown",
        "python": platform.python_version(),
        "twisted": version("twisted"),
        "load before": round(os.getloadavg()[0], 2),
    }


def report(found: dict[str, Any], out: Path) -> str:
    """Write all of it as Markdown, and the plots beside it."""
    here = found["machine"]
    lines = [
        "# Benchmarks of lotus_guard",
        "",
        f"{found['mode']} run of {found['seconds']:.0f} s on {here['cpus']} × {here['model']}, "
        f"Python {here['python']}, Twisted {here['twisted']}; load average before it "
        f"{here['load before']}. What the figures mean: docs/benchmarks.md.",
        "",
    ]
    for name, part in PARTS.items():
        result = found["parts"].get(name)
        if result is None:
            continue
        lines += [f"## {part.title}", ""]
        if "left out" in result or "failed" in result:
            word = "Left out" if "left out" in result else "Failed"
            lines += [f"{word}: {result.get('left out') or result.get('failed')}", ""]
            continue
        module = importlib.import_module(part.module)
        lines += [module.shown(result)]
        if hasattr(module, "svg"):
            (out / f"bench-{name}.svg").write_text(module.svg(result))
            lines += [f"![{part.title}](bench-{name}.svg)", ""]
        if "targets" in result:
            lines += [targets.shown(result["targets"])]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--quick", action="store_const", dest="mode", const="quick")
    mode.add_argument("--smoke", action="store_const", dest="mode", const="smoke")
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--against", default="", help="a revision instead of the last tag")
    parser.add_argument("--out", type=Path, default=ROOT / "build")
    args = parser.parse_args()
    names = [name for name in args.only.split(",") if name]
    unknown = sorted(set(names) - PARTS.keys())
    if unknown:
        parser.error(
            f"--only: {', '.join(unknown)} is no part; expected some of {', '.join(PARTS)}"
        )
    args.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"mode": args.mode or "full", "machine": machine(), "parts": {}}
    begun = time.monotonic()
    for name in names:
        say(f"{PARTS[name].title} ({names.index(name) + 1} of {len(names)})")
        found["parts"][name] = measured(PARTS[name], found["mode"], args.out, args.against)
    found["seconds"] = time.monotonic() - begun
    (args.out / "bench.json").write_text(json.dumps(found, indent=1))
    text = report(found, args.out)
    (args.out / "bench.md").write_text(text)
    print(text)
    say(f"written: {args.out / 'bench.json'}, {args.out / 'bench.md'}")
    return 1 if any("failed" in result for result in found["parts"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
