"""`pip install` of wheel, sdist and an editable source: each time all of it is there."""

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.packages.conftest import Built, House, names_in
from tests.packages.tools import copy_source, run
from tests.real.processes import ROOT

pytestmark = pytest.mark.real
PROBE = "from lotus_guard.core.naming import livekit_room_of\nreveal_type(livekit_room_of)\n"


def test_the_sdist_builds_the_very_wheel(built: Built) -> None:
    wheel = names_in(built.wheel)
    assert names_in(built.wheel_from_sdist) == wheel
    for name in ("py.typed", "static/deep/page.html", "synapse_module.py"):
        assert f"lotus_guard/{name}" in wheel
    assert "twisted/plugins/lotus_guard_tap.py" in wheel
    others = [name for name in wheel if not name.startswith(("lotus_guard", "twisted/plugins/lo"))]
    assert others == [], "a file of ours here would hide one of Twisted's"
    assert [name for name in wheel if name.endswith((".pyc", "dropin.cache"))] == []


def test_the_sdist_holds_what_git_holds(built: Built) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this source is not a clone")
    with tarfile.open(built.sdist) as opened:
        held = {name.partition("/")[2] for name in opened.getnames()}
    tracked = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).split()
    assert [name for name in tracked if name not in held and (ROOT / name).exists()] == []


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_an_installation_has_all_of_it(
    kind: str, built: Built, house: House, tmp_path: Path
) -> None:
    path = built.wheel if kind == "wheel" else built.sdist
    commands = house.environment(tmp_path / "venv", str(path))
    is_whole(commands, tmp_path)
    module = origin(commands, "lotus_guard.synapse_module", tmp_path)
    assert (tmp_path / "venv") in module.parents


def test_an_editable_installation_has_all_of_it(house: House, tmp_path: Path) -> None:
    """Without editable_mode=compat twistd does not find the plugin of a flat layout."""
    source = copy_source(tmp_path / "source")
    compat = ["--config-settings", "editable_mode=compat"]
    commands = house.environment(tmp_path / "venv", "--editable", str(source), *compat)
    is_whole(commands, tmp_path)
    assert origin(commands, "lotus_guard.synapse_module", tmp_path).parents[1] == source


def test_twistd_needs_no_cache_that_it_can_write(
    built: Built, house: House, tmp_path: Path
) -> None:
    """A file where the cache should be stands for a file system that is read-only, for root too."""
    commands = house.environment(tmp_path / "venv", str(built.wheel))
    (plugins,) = (tmp_path / "venv").glob("lib/python*/site-packages/twisted/plugins")
    (plugins / "dropin.cache").mkdir()
    listed = run([str(commands / "twistd"), "--help"], tmp_path)
    assert "lotus-guard" in listed.stdout
    assert "Traceback" not in listed.stdout + listed.stderr


def is_whole(commands: Path, folder: Path) -> None:
    """Check what each kind of installation must give."""
    assert "lotus-guard" in run([str(commands / "twistd"), "--help"], folder).stdout
    assert "LOTUS_GUARD_LISTEN" in run([str(commands / "twistd"), "lotus-guard", "--help"]).stdout
    assert "check" in run([str(commands / "lotus-guard"), "--help"], folder).stdout
    probe = folder / "probe.py"
    probe.write_text(PROBE)
    python = str(commands / "python")
    mypy = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(folder / "mypy")]
    seen = run([*mypy, "--python-executable", python, str(probe)], folder).stdout
    assert 'Revealed type is "def (' in seen


def origin(commands: Path, module: str, folder: Path) -> Path:
    """Return where a module is, without running it: Synapse is not there to import."""
    call = f"import importlib.util as u; print(u.find_spec({module!r}).origin)"
    path = Path(run([str(commands / "python"), "-c", call], folder).stdout.strip())
    assert path.is_file()
    return path
