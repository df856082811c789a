"""`make release`: sdist, wheel, Debian package and their checksums, from a clean and tagged tree.

Everything is built from what git holds at HEAD, not from the working tree. sdist and wheel are the
same byte for byte whenever they are built with the same setuptools: their times are the commit's.
"""

import argparse
import ast
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SUMS = "SHA256SUMS"
DEBIAN_TOOLS = ("dpkg-buildpackage", "dh", "help2man")
Builder = Callable[[Path, Path, Mapping[str, str]], None]
"""Builds from a source folder into another one, in an environment."""


class Refused(Exception):
    """There is no release to be made of this tree; says why, a line each."""


def git(root: Path, *arguments: str) -> str:
    """Run git in a repository and return what it says."""
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def version_of(root: Path) -> str:
    """Read the version without importing the package."""
    text = (root / "lotus_guard" / "version.py").read_text(encoding="utf-8")
    return str(ast.literal_eval(text.rpartition("VERSION: Final = ")[2]))


def faults(root: Path) -> list[str]:
    """List what keeps a tree from being released; empty where nothing does."""
    version, found = version_of(root), []
    dirty = git(root, "status", "--porcelain").splitlines()
    if dirty:
        names = ", ".join(line[3:] for line in dirty[:5])
        found.append(f"The tree is dirty ({names}): commit or remove that first.")
    tags = git(root, "tag", "--points-at", "HEAD").split()
    if f"v{version}" not in tags:
        there = f"it has {', '.join(tags)}" if tags else "it has no tag"
        found.append(
            f"HEAD is not tagged v{version} ({there}): git tag -a v{version}, "
            "or set VERSION in lotus_guard/version.py."
        )
    if f"\n## {version} – " not in (root / "CHANGELOG.md").read_text(encoding="utf-8"):
        found.append(f"CHANGELOG.md has no section {version}: towncrier build --version {version}.")
    fragments = [path.name for path in (root / "changelog.d").glob("*.*.md")]
    if fragments:
        found.append(f"changelog.d/ still has {', '.join(sorted(fragments))}: run towncrier.")
    first = (root / "deploy/debian/changelog").read_text(encoding="utf-8").partition("\n")[0]
    if f"({version})" not in first:
        found.append(f"deploy/debian/changelog does not begin with {version}.")
    return found


def build_python(source: Path, out: Path, environment: Mapping[str, str]) -> None:
    """Build sdist and wheel."""
    command = [sys.executable, "-m", "build", "--outdir", str(out), str(source)]
    subprocess.run(command, env=dict(environment), stdout=subprocess.DEVNULL, check=True)
    for sdist in out.glob("*.tar.gz"):
        repack(sdist, int(environment["SOURCE_DATE_EPOCH"]))


def build_debian(source: Path, out: Path, environment: Mapping[str, str]) -> None:
    """Build the Debian package; raises Refused where its tools are missing."""
    missing = [tool for tool in DEBIAN_TOOLS if shutil.which(tool) is None]
    if missing:
        raise Refused(
            f"The Debian package needs {', '.join(missing)}: on Debian, "
            "apt-get install dpkg-dev debhelper help2man python3-pip python3-venv."
        )
    with tempfile.TemporaryDirectory() as folder:
        command = [str(source / "deploy" / "debian" / "build-package"), folder]
        subprocess.run(command, env=dict(environment), check=True)
        for package in Path(folder).glob("*.deb"):
            shutil.copy(package, out)


def repack(sdist: Path, epoch: int) -> None:
    """Write an sdist again with nothing in it that depends on when and by whom it was built."""
    packed = io.BytesIO()
    with tarfile.open(sdist) as old, tarfile.open(fileobj=packed, mode="w") as new:
        for member in sorted(old.getmembers(), key=lambda each: each.name):
            member.mtime, member.uid, member.gid = epoch, 0, 0
            member.uname = member.gname = ""
            member.pax_headers = {}
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
    with sdist.open("wb") as file, gzip.GzipFile("", "wb", 9, file, epoch) as zipped:
        zipped.write(packed.getvalue())


def export(root: Path, folder: Path) -> None:
    """Write what git holds at HEAD into a folder."""
    command = ["git", "-C", str(root), "archive", "--format=tar", "HEAD"]
    archive = subprocess.run(command, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        opened.extractall(folder, filter="tar")


def release(root: Path, out: Path, builders: Sequence[Builder]) -> list[str]:
    """Build everything into a folder, which is emptied first; returns the names of the files.

    Raises Refused where the tree is not one to be released.
    """
    found = faults(root)
    if found:
        raise Refused("\n".join(found))
    environment = {
        **os.environ,
        "SOURCE_DATE_EPOCH": git(root, "log", "-1", "--format=%ct").strip(),
    }
    with tempfile.TemporaryDirectory() as folder:
        source, built = Path(folder) / "source", Path(folder) / "built"
        source.mkdir()
        built.mkdir()
        export(root, source)
        for builder in builders:
            builder(source, built, environment)
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(built, out)
    return write_sums(out)


def write_sums(out: Path) -> list[str]:
    """Write `SHA256SUMS` for `sha256sum --check`; returns the names of the files."""
    files = sorted(out.iterdir())
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (out / SUMS).write_text("".join(lines), encoding="ascii")
    return [*(path.name for path in files), SUMS]


def main() -> int:
    """Make a release; 1 and the reasons where there is none to make."""
    parser = argparse.ArgumentParser(description="Build a release into a folder.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository")
    parser.add_argument("--python-only", action="store_true", help="no Debian package")
    wanted = parser.parse_args()
    builders = [build_python] if wanted.python_only else [build_python, build_debian]
    try:
        names = release(wanted.root, wanted.out, builders)
    except Refused as why:
        print(f"No release:\n{why}", file=sys.stderr)
        return 1
    print(f"{wanted.out}:", *names, sep="\n  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
