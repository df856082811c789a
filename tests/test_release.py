"""A release is made of a clean and tagged tree only, and holds what it says it holds.

`tests/packages/test_release.py` makes a real one.
"""

import hashlib
import io
import os
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.packages.tools import run
from tools.release import Refused, git, release, repack, version_of

ROOT = Path(__file__).resolve().parents[1]
AUTHOR = {
    f"GIT_{who}_{what}": "t@e" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small repository that is ready to be released."""
    for name, value in AUTHOR.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    root = tmp_path / "tree"
    written = {
        "lotus_guard/version.py": 'VERSION: Final = "1.2.3"\n',
        "CHANGELOG.md": "# Changelog\n\n## 1.2.3 – 2026-11-30\n",
        "changelog.d/README.md": "how",
        "deploy/debian/changelog": "lotus-guard (1.2.3) unstable; urgency=medium\n",
    }
    for name, text in written.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(root, "init", "--quiet")
    commit(root)
    git(root, "tag", "v1.2.3")
    return root


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "a change")


def fake(source: Path, out: Path, environment: Mapping[str, str]) -> None:
    """Build quickly: one file that tells what it was built from."""
    names = sorted(str(path.relative_to(source)) for path in source.rglob("*") if path.is_file())
    (out / "a.deb").write_text("\n".join([environment["SOURCE_DATE_EPOCH"], *names]))


def refusal(root: Path, out: Path) -> str:
    with pytest.raises(Refused) as caught:
        release(root, out, [fake])
    assert not out.exists()
    return str(caught.value)


def test_what_is_built_has_checksums_that_hold(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "dist"
    out.mkdir()
    (out / "of-before.whl").touch()
    assert release(tree, out, [fake]) == ["a.deb", "SHA256SUMS"]
    assert sorted(path.name for path in out.iterdir()) == ["SHA256SUMS", "a.deb"]
    digest = hashlib.sha256((out / "a.deb").read_bytes()).hexdigest()
    assert (out / "SHA256SUMS").read_text() == f"{digest}  a.deb\n"


def test_it_is_built_of_what_git_holds_with_the_commits_time(tree: Path, tmp_path: Path) -> None:
    (tree / ".git/info/exclude").write_text("ignored\n")
    (tree / "ignored").touch()
    release(tree, tmp_path / "dist", [fake])
    epoch, *names = (tmp_path / "dist" / "a.deb").read_text().splitlines()
    assert epoch == git(tree, "log", "-1", "--format=%ct").strip()
    assert "lotus_guard/version.py" in names
    assert "ignored" not in names


@pytest.mark.parametrize("name", ["CHANGELOG.md", "left-over"])
def test_a_dirty_tree_is_refused(tree: Path, tmp_path: Path, name: str) -> None:
    with (tree / name).open("a") as file:
        file.write("more")
    assert f"The tree is dirty ({name})" in refusal(tree, tmp_path / "dist")


def test_a_commit_after_the_tag_is_refused(tree: Path, tmp_path: Path) -> None:
    (tree / "more").touch()
    commit(tree)
    assert "HEAD is not tagged v1.2.3 (it has no tag)" in refusal(tree, tmp_path / "dist")


def test_another_versions_tag_is_refused(tree: Path, tmp_path: Path) -> None:
    git(tree, "tag", "--delete", "v1.2.3")
    git(tree, "tag", "v1.2.4")
    assert "is not tagged v1.2.3 (it has v1.2.4)" in refusal(tree, tmp_path / "dist")


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("CHANGELOG.md", "## 1.2.2 – 2026-01-01\n", "CHANGELOG.md has no section 1.2.3"),
        ("changelog.d/+new.fixed.md", "A fix.\n", "changelog.d/ still has +new.fixed.md"),
        ("deploy/debian/changelog", "lotus-guard (1.2.2) unstable\n", "does not begin with 1.2.3"),
    ],
)
def test_what_is_not_ready_is_refused(
    tree: Path, tmp_path: Path, name: str, text: str, why: str
) -> None:
    (tree / name).write_text(text)
    commit(tree)
    git(tree, "tag", "--force", "v1.2.3")
    assert why in refusal(tree, tmp_path / "dist")


def test_make_release_refuses_with_a_sentence_and_a_status(tree: Path) -> None:
    (tree / "left-over").touch()
    command = [
        "make",
        "--no-print-directory",
        "release",
        f"ROOT={tree}",
        "--assume-old=.venv/.installed",
    ]
    done = run(command, folder=ROOT, check=False)
    assert done.returncode != 0
    assert "No release:\nThe tree is dirty (left-over)" in done.stderr


def packed(path: Path, names: list[str], mtime: int, user: str) -> bytes:
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.uname, member.mode = 4, mtime, user, 0o755
            archive.addfile(member, io.BytesIO(b"text"))
    repack(path, 1_000_000)
    return path.read_bytes()


def test_an_sdist_does_not_tell_when_and_by_whom_it_was_built(tmp_path: Path) -> None:
    first = packed(tmp_path / "a.tar.gz", ["p/b", "p/a"], 1, "alice")
    assert packed(tmp_path / "b.tar.gz", ["p/a", "p/b"], 2, "bob") == first
    with tarfile.open(tmp_path / "a.tar.gz") as archive:
        assert archive.getnames() == ["p/a", "p/b"]
        assert {member.mode for member in archive} == {0o755}
        file = archive.extractfile("p/a")
        assert file is not None
        assert file.read() == b"text"


def test_the_version_here_is_that_of_the_newest_section_of_the_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    newest = text[text.index("\n## ") :].splitlines()[1]
    assert newest.startswith(f"## {version_of(ROOT)} – ")


def test_fragments_make_a_section(tmp_path: Path) -> None:
    """In a copy, with one more of each kind: what is there and that."""
    for name in ("pyproject.toml", "CHANGELOG.md"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    fragments = tmp_path / "changelog.d"
    fragments.mkdir()
    for path in (ROOT / "changelog.d").iterdir():
        (fragments / path.name).write_text(path.read_text())
    for kind in ("upgrading", "added", "changed", "fixed", "security"):
        (fragments / f"+probe.{kind}.md").write_text(f"Something was {kind}.\n")
    (fragments / "12.fixed.md").write_text("A bug is gone.\n")
    build = ["towncrier", "build", "--version", "9.9.9", "--date", "2027-01-02"]
    drafted = run([sys.executable, "-m", *build, "--draft"], folder=tmp_path).stdout
    assert "## 9.9.9 – 2027-01-02\n" in drafted
    headings = [line for line in drafted.splitlines() if line.startswith("### ")]
    assert headings == ["### Upgrading", "### Added", "### Changed", "### Fixed", "### Security"]
    assert "- A bug is gone. (#12)" in drafted
    git(tmp_path, "init", "--quiet")  # towncrier removes what it has used, by git
    run([sys.executable, "-m", *build, "--yes"], folder=tmp_path)
    assert list(fragments.glob("*.*.md")) == []
    written = (tmp_path / "CHANGELOG.md").read_text()
    assert written.index("## 9.9.9") < written.index(f"## {version_of(ROOT)}")
