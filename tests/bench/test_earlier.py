"""Ours at another revision: found by git, and written where nothing of this tree is in its way."""

import shutil
import subprocess
from pathlib import Path

import pytest

from bench.earlier import last_tag, named, unpack
from bench.tools import Missing

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(where: Path, *words: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *words], cwd=where, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A guard of two commits, the first of which has a tag."""
    where = tmp_path / "repository"
    for package in ("lotus_guard", "twisted/plugins"):
        (where / package).mkdir(parents=True)
    (where / "twisted" / "plugins" / "p.py").write_text("")
    git(where, "init", "--quiet")
    for text in ("1", "2"):
        (where / "lotus_guard" / "__init__.py").write_text(f"version = {text}\n")
        git(where, "add", ".")
        git(where, "commit", "--quiet", "-m", text)
        if text == "1":
            git(where, "tag", "v1")
    return where


def test_the_code_of_the_last_tag_is_written(repository: Path, tmp_path: Path) -> None:
    assert last_tag(repository) == "v1"
    folder = unpack("v1", tmp_path, repository)
    assert (folder / "lotus_guard" / "__init__.py").read_text() == "version = 1\n"
    assert (folder / "twisted" / "plugins" / "p.py").exists()
    assert unpack("v1", tmp_path, repository) == folder, "each round asks for it"


def test_a_revision_can_be_named(repository: Path, tmp_path: Path) -> None:
    folder = unpack(named("HEAD", repository), tmp_path, repository)
    assert (folder / "lotus_guard" / "__init__.py").read_text() == "version = 2\n"


@pytest.mark.parametrize("revision", ["v2", "--help", "v1:lotus_guard"])
def test_what_is_no_revision_is_missing(repository: Path, revision: str) -> None:
    with pytest.raises(Missing, match="git rev-parse failed"):
        named(revision, repository)


def test_without_a_tag_that_is_said(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    with pytest.raises(Missing, match="there is no tag"):
        last_tag(tmp_path)


def test_an_archive_without_our_code_is_no_guard(repository: Path, tmp_path: Path) -> None:
    git(repository, "rm", "-r", "--quiet", "twisted")
    git(repository, "commit", "--quiet", "-m", "3")
    with pytest.raises(Missing, match="git archive failed"):
        unpack("HEAD", tmp_path, repository)


def test_what_would_run_another_tree_is_no_earlier_one(repository: Path, tmp_path: Path) -> None:
    """Without an `__init__.py` the guard that is installed here is found first."""
    git(repository, "mv", "lotus_guard/__init__.py", "lotus_guard/other.py")
    git(repository, "commit", "--quiet", "-m", "3")
    with pytest.raises(AssertionError, match="would run, and not HEAD"):
        unpack("HEAD", tmp_path, repository)
