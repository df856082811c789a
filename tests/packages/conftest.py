"""Each kind of package is built once."""

import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

from tests.packages.roots import Entry, Root
from tests.packages.tools import BUILDING, copy_source, require, require_debian, run
from tests.real.processes import ROOT

REQUIREMENTS = ROOT / "deploy" / "requirements.txt"


@frozen
class House:
    """Wheels of all that the guard needs, so that nothing is fetched twice."""

    folder: Path

    def environment(self, folder: Path, *packages: str) -> Path:
        """Make a virtual environment with these in it; gives its bin folder."""
        run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
        self.install(folder, *packages)
        return folder / "bin"

    def install(self, environment: Path, *packages: str) -> None:
        """Install into an environment, from the house alone."""
        pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python")]
        own = ["--quiet", "--no-cache-dir", "--no-compile", "--no-index"]
        run([*pip, "install", *own, "--find-links", str(self.folder), *packages])


@frozen
class Built:
    """What setuptools made of the source."""

    sdist: Path
    wheel: Path
    wheel_from_sdist: Path


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    folder = tmp_path_factory.mktemp("house")
    get = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(folder)]
    run([*get, "--only-binary", ":all:", "--require-hashes", "--requirement", str(REQUIREMENTS)])
    run([*get, "--no-deps", "setuptools>=69"])  # builds, as pyproject.toml says
    return House(folder)


@pytest.fixture(scope="session")
def built(house: House, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Wheel and sdist, with a file of data deep inside the package and rubbish beside it."""
    folder = tmp_path_factory.mktemp("built")
    source = copy_source(folder / "source")
    for name in ("static/deep/page.html", "core/left-over.pyc"):
        path = source / "lotus_guard" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("probe")
    python = str(house.environment(folder / "builder", "setuptools") / "python")

    def build(kind: str, where: Path, out: Path) -> Path:
        out.mkdir(exist_ok=True)
        call = f"from setuptools import build_meta as b; b.build_{kind}({str(out)!r})"
        run([python, "-c", call], folder=where)
        (found,) = out.glob("lotus_guard*")
        return found

    sdist = build("sdist", source, folder / "sdist")
    wheel = build("wheel", source, folder / "wheel")
    run(["tar", "--extract", "--file", str(sdist)], folder=folder)
    unpacked = folder / sdist.name.removesuffix(".tar.gz")
    return Built(sdist, wheel, build("wheel", unpacked, folder / "again"))


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Debian package."""
    require("debhelper, help2man or lintian", all(shutil.which(name) for name in BUILDING))
    folder = tmp_path_factory.mktemp("deb")
    run([str(ROOT / "deploy" / "debian" / "build-package"), str(folder)])
    (found,) = folder.glob("*.deb")
    return found


@pytest.fixture(scope="session")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    """A Debian with Python."""
    require_debian()
    root = Root.unpack(tmp_path_factory.mktemp("debian") / "root")
    quiet = Entry(env={"DEBIAN_FRONTEND": "noninteractive"})
    root.run(["apt-get", "update", "-q"], quiet)
    root.run(["apt-get", "install", "-qy", "--no-install-recommends", "python3"], quiet)
    yield root
    root.remove()


def names_in(wheel: Path) -> dict[str, bytes]:
    """Read a wheel."""
    with zipfile.ZipFile(wheel) as opened:
        return {name: opened.read(name) for name in opened.namelist()}
