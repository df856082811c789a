"""Building a release: files, byte code, virtual environment, pinned packages, the package itself.

pip runs from an environment of its own (`tools`), made once: a release needs none, and a virtual
environment without it takes a tenth of a second.
"""

import shutil
import sys
from pathlib import Path

from deploy.lib.host import Exit, Host, Trouble, run
from deploy.lib.releases import Releases
from deploy.lib.source import Source
from deploy.lib.steps import Walk

REQUIREMENTS = "deploy/requirements.txt"
_OFFLINE = ("--no-index", "--no-deps", "--no-build-isolation")
_PINNED = ("--require-hashes", "--only-binary=:all:")


def build(host: Host, source: Source, revision: str, free_mb: float, walk: Walk) -> None:
    """Build a release, unless that has been done; raises Trouble, whose code tells who is at fault.

    Files that do not compile are the revision's fault, packages that do not come may be anybody's.
    It is not begun on a disk with less than `free_mb` left.
    """
    releases = Releases(host)
    release = releases.directory(revision)
    if releases.is_finished(revision):
        walk.step(f"release {revision} is built already", lambda: None)
        return
    tree, python = release / "source", release / "venv/bin/python"
    walk.step(
        f"check that {free_mb:g} MB of the disk are free",
        lambda: demand_room(releases, revision, free_mb),
    )
    walk.step(f"clear {release}", lambda: shutil.rmtree(release, ignore_errors=True))
    walk.step(f"write the files of {revision}", lambda: source.export(revision, tree))
    walk.step("test: byte-compile every file", lambda: compile_all(tree))
    walk.step("make pip's own environment, if it is missing", lambda: _make_tools(host))
    walk.step("make the virtual environment", lambda: _make_environment(release / "venv"))
    walk.step(
        f"install what {REQUIREMENTS} pins, by hash",
        lambda: _pip(
            host, python, Exit.NOT_NOW, "install", *_PINNED, "--requirement", tree / REQUIREMENTS
        ),
    )
    walk.step(
        "install the package itself",
        lambda: _pip(host, python, Exit.REFUSED, "install", *_OFFLINE, tree),
    )
    walk.step("flush it to disk and mark it finished", lambda: releases.finish(revision))


def demand_room(releases: Releases, revision: str, wanted: float) -> None:
    """Raise Trouble where the disk is too full for a release that is still to be built."""
    if not releases.is_finished(revision) and releases.free_mb < wanted:
        text = f"{releases.opt} has {releases.free_mb:.0f} MB left; expected {wanted:g} (FREE_MB)"
        raise Trouble(text, Exit.NOT_NOW)


def whose_fault(trouble: Trouble, free_mb: float, wanted: float) -> Trouble:
    """Say who is to blame where a release was refused: no release is, on a disk that is full."""
    if trouble.code is not Exit.REFUSED or free_mb >= wanted / 10:
        return trouble
    text = f"{trouble}\nand the disk has {free_mb:.0f} MB left: that may be why"
    return Trouble(text, Exit.NOT_NOW)


def compile_all(tree: Path) -> None:
    """Byte-compile every Python file, also those without a suffix; raises Trouble."""
    scripts = [path for path in (tree / "deploy").glob("*") if _is_script(path)]
    run([sys.executable, "-m", "compileall", "-q", "-f", tree])
    if scripts:
        run([sys.executable, "-m", "py_compile", *scripts])


def _is_script(path: Path) -> bool:
    if not path.is_file() or path.suffix:
        return False
    with path.open("rb") as file:
        return file.readline().startswith(b"#!") and b"python" in path.read_bytes()[:80]


def _make_tools(host: Host) -> None:
    tools, beside = host.opt / "tools", host.opt / "tools.unfinished"
    if tools.is_dir():
        return
    shutil.rmtree(beside, ignore_errors=True)
    try:
        run([sys.executable, "-m", "venv", beside])
    except Trouble as why:
        fix = "install the system's venv with pip (Debian: apt-get install python3-venv)"
        raise Trouble(f"{why}\nFix: {fix}", Exit.NOT_NOW) from None
    beside.rename(tools)


def _make_environment(directory: Path) -> None:
    run([sys.executable, "-m", "venv", "--clear", "--without-pip", directory], Exit.NOT_NOW)


def _pip(host: Host, python: Path, code: Exit, *words: str | Path) -> None:
    pip = [str(host.opt / "tools/bin/python"), "-m", "pip", "--python", str(python)]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    run([*pip, words[0], *quiet, *words[1:]], code)
