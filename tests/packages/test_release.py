"""`make release` on a copy of this tree, committed and tagged: all but the Debian package."""

import hashlib
import os
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from lotus_guard.version import VERSION
from tests.packages.tools import copy_source, run
from tests.real.processes import ROOT

pytestmark = pytest.mark.real
AUTHOR = {
    f"GIT_{who}_{what}": "t@e" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
}
QUIET = {**AUTHOR, "GIT_CONFIG_GLOBAL": os.devnull}


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = copy_source(tmp_path_factory.mktemp("tagged") / "source")
    for command in (
        ["git", "init", "--quiet"],
        ["git", "add", "--all"],
        ["git", "commit", "--quiet", "--message", "everything"],
        ["git", "tag", f"v{VERSION}"],
    ):
        run(command, root, QUIET)
    return root


def released(tagged: Path, out: Path) -> Path:
    own = ["--root", str(tagged), "--out", str(out), "--python-only"]
    run([sys.executable, "-m", "tools.release", *own], ROOT)
    return out


def test_two_builds_are_the_same_and_have_checksums(tagged: Path, tmp_path: Path) -> None:
    """The fragments of a branch keep it from being released: here they are none."""
    for fragment in (tagged / "changelog.d").glob("*.*.md"):
        fragment.unlink()
    if run(["git", "status", "--porcelain"], tagged).stdout:
        run(["git", "commit", "--quiet", "--all", "--message", "no fragments"], tagged, QUIET)
        run(["git", "tag", "--force", f"v{VERSION}"], tagged, QUIET)
    first, second = (released(tagged, tmp_path / name) for name in ("first", "second"))
    names = [f"lotus_guard-{VERSION}-py3-none-any.whl", f"lotus_guard-{VERSION}.tar.gz"]
    assert sorted(path.name for path in first.iterdir()) == ["SHA256SUMS", *names]
    sums = dict(line.split()[::-1] for line in (first / "SHA256SUMS").read_text().splitlines())
    for name in names:
        content = (first / name).read_bytes()
        assert content == (second / name).read_bytes(), f"{name} is another one the second time"
        assert sums[name] == hashlib.sha256(content).hexdigest()
    with zipfile.ZipFile(first / names[0]) as wheel:
        assert "lotus_guard/words/en.json" in wheel.namelist()
    with tarfile.open(first / names[1]) as sdist:
        packed = {name.partition("/")[2] for name in sdist.getnames()}
    held = set(run(["git", "ls-files"], tagged).stdout.splitlines())
    assert held - packed == set()
