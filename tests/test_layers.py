"""Imports point one way: tap → service → web, admin, adapters → admission … → ports → core."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1] / "lotus_guard"
LEVELS = [
    {"core"},
    {
        "ports",
        "book",
        "flight",
        "bounded",
        "landing",
        "address",
        "systemd",
        "credentials",
        "hangup",
    },
    {"policies", "presence", "roll_call", "pressure", "doubt", "turns"},
    {"admission"},
    {"live"},
    {"hints", "search", "records", "health", "names"},
    {"overview", "status"},
    {"adapters"},
    {"web", "admin", "config"},
    {"sharing", "listeners", "ways"},
    {"fleet"},
    {"service"},
    {"sandbox"},
    {"check"},
    {"commands"},
    {"tap", "cli"},
]
LEVEL = {name: number for number, names in enumerate(LEVELS) for name in names}
ANYWHERE = {"synapse_module": {"core"}}
IMPURE = {"time", "random", "os", "pathlib", "socket", "twisted", "treq", "klein", "logging"}


def part_of(module: str) -> str:
    return module.split(".")[1]


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return found


def test_imports_point_one_way() -> None:
    wrong = []
    for path in ROOT.rglob("*.py"):
        name = path.relative_to(ROOT).parts[0].removesuffix(".py")
        for module in imports(path):
            if not module.startswith("lotus_guard.") or name == "__init__":
                continue
            part = part_of(module)
            allowed = part in ANYWHERE[name] if name in ANYWHERE else LEVEL[part] <= LEVEL[name]
            if not allowed:
                wrong.append((str(path.relative_to(ROOT)), module))
    assert wrong == []


def test_the_core_is_pure() -> None:
    for path in (ROOT / "core").glob("*.py"):
        assert not IMPURE & {module.split(".")[0] for module in imports(path)}, path.name


def test_only_the_face_and_the_composition_root_reach_for_the_reactor() -> None:
    for path in ROOT.rglob("*.py"):
        reaches = "from twisted.internet import reactor" in path.read_text()
        assert not reaches or path.name in ("tap.py", "run/config.py"), path.name
