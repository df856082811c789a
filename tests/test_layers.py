"""What each package may import; a new import across packages is a decision made here."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1] / "lotus_guard"
ALLOWED: dict[str, set[str]] = {
    "core": set(),
    "words": {"core"},
    "rules": {"core"},
    "enforce": {"core", "rules"},
    "overload": {"enforce"},
    "neighbours": {"core", "rules", "enforce"},
    "memory": {"core", "rules", "enforce"},
    "observe": {"core", "rules", "enforce"},
    "web": {"core", "words", "rules", "enforce", "overload", "neighbours", "observe"},
    "run": {
        "core",
        "words",
        "rules",
        "enforce",
        "overload",
        "neighbours",
        "memory",
        "observe",
        "web",
    },
    "sandbox": {"core", "rules", "overload", "neighbours", "run"},
    "check": {"core", "rules", "enforce", "overload", "neighbours", "memory", "run"},
    "commands": {"core", "words", "rules", "enforce", "neighbours", "memory", "run", "check"},
    "cli": {"commands"},
    "tap": {"run", "sandbox"},
    "synapse_module": {"core", "rules"},
}
EVERYWHERE = "version"
"""One constant, which all may import: it imports nothing."""
PURE = ("core", "rules")
IMPURE = {"time", "random", "os", "pathlib", "socket", "twisted", "treq", "klein", "logging"}
REACTOR = {"tap.py", "run/parsers.py"}
MOST_ROOT_MODULES = 6


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return found


def package_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def modules() -> list[Path]:
    apart = {ROOT / "__init__.py", ROOT / f"{EVERYWHERE}.py"}
    return [path for path in ROOT.rglob("*.py") if path not in apart]


def test_what_all_may_import_imports_nothing_of_the_package() -> None:
    found = imports(ROOT / f"{EVERYWHERE}.py")
    assert [module for module in found if module.startswith("lotus_guard")] == []


def test_each_package_imports_what_it_may() -> None:
    wrong = []
    for path in modules():
        package = package_of(path)
        for module in imports(path):
            if not module.startswith("lotus_guard."):
                continue
            imported = module.split(".")[1]
            if imported not in ALLOWED[package] | {package, EVERYWHERE}:
                wrong.append(f"{path.relative_to(ROOT)} imports {module}")
    assert wrong == []


def test_the_list_names_what_is_imported_and_no_more() -> None:
    """What is allowed and not used hides the next wrong import."""
    used: dict[str, set[str]] = defaultdict(set)
    for path in modules():
        names = [m.split(".")[1] for m in imports(path) if m.startswith("lotus_guard.")]
        used[package_of(path)] |= set(names) - {package_of(path), EVERYWHERE}
    assert {package: ALLOWED[package] - used[package] for package in ALLOWED} == {
        package: set() for package in ALLOWED
    }


def test_no_package_reaches_itself_through_others() -> None:
    for package in ALLOWED:
        reached, ahead = set[str](), {package}
        while ahead:
            reached |= ahead
            ahead = set[str]().union(*(ALLOWED[each] for each in ahead))
            assert package not in ahead, package
            ahead -= reached


def test_what_decides_is_pure() -> None:
    for package in PURE:
        for path in (ROOT / package).glob("*.py"):
            assert not IMPURE & {module.split(".")[0] for module in imports(path)}, path.name


def test_only_the_face_and_the_settings_reach_for_the_reactor() -> None:
    for path in modules():
        reaches = "from twisted.internet import reactor" in path.read_text()
        assert not reaches or str(path.relative_to(ROOT)) in REACTOR, path.name


def test_the_root_is_a_short_list_of_doors() -> None:
    assert len(list(ROOT.glob("*.py"))) <= MOST_ROOT_MODULES
