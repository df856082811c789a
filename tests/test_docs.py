"""The documentation says what the code says."""

import ast
import json
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
import pytest_twisted
import yaml
from twisted.internet.task import Clock

from lotus_guard.enforce.ports import Reason
from lotus_guard.neighbours.agents import Agents
from lotus_guard.rules import RULES
from lotus_guard.run.clocks import Clocks
from lotus_guard.run.config import read_config, variable_names, variables
from lotus_guard.run.guard import make_guard
from lotus_guard.sandbox.stack import TWO
from tests.test_failure_classes import FAULTS
from tests.world import World

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = (ROOT / "deploy" / "environment.sample").read_text()
FAILURES = (ROOT / "docs" / "failures.md").read_text()
TROUBLE = (ROOT / "docs" / "troubleshooting.md").read_text()
OPERATING = (ROOT / "docs" / "operating.md").read_text()
MOST_README_LINES = 95
GOOD = {
    "LIVEKIT_URL": "ws://127.0.0.1:7880",
    "LIVEKIT_KEY": "key",
    "LIVEKIT_SECRET": "secret",
    "LOTUS_GUARD_SYNAPSE_URL": "http://127.0.0.1:8008",
    "LOTUS_GUARD_SYNAPSE_TOKEN": "token",
}


def defaults() -> dict[str, str]:
    return {each.name: each.default for each in variables()}


def test_the_sample_names_every_variable_with_its_default() -> None:
    lines = re.findall(r"^#?([A-Z_]+)=(.*)$", SAMPLE, re.MULTILINE)
    assert {name for name, _ in lines} == set(variable_names())
    for name, value in lines:
        if value and not value.startswith(("/etc", "wss:", "http://127.0.0.1:7880")):
            assert value in (defaults()[name], "lotus-guard.sqlite", "http://127.0.0.1:8008")


def test_the_table_of_failures_is_the_one_that_is_tested() -> None:
    rows = re.findall(r"^\| ([^|]+) \| `(\w+)` \|", FAILURES, re.MULTILINE)
    assert dict(rows) == {fault: reason for fault, (_, reason) in FAULTS.items()}


def test_every_reason_is_explained() -> None:
    text = FAILURES + TROUBLE
    assert [r for r in Reason if f"`{r}`" not in text and f": {r}" not in text] == []


def exposed_families() -> set[str]:
    clock = Clock()
    guard = make_guard(
        read_config(GOOD),
        Clocks(clock, clock.seconds, clock.seconds),
        Agents(None, None, None),
    )
    return {metric.name for metric in guard.metrics.registry.collect()}


@pytest.mark.parametrize("path", ["README.md", *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))])
def test_every_metric_that_is_named_exists(path: str) -> None:
    clock = Clock()
    guard = make_guard(
        read_config(GOOD),
        Clocks(clock, clock.seconds, clock.seconds),
        Agents(None, None, None),
    )
    exposed = {
        sample.name for metric in guard.metrics.registry.collect() for sample in metric.samples
    } | {metric.name for metric in guard.metrics.registry.collect()}
    # Counters without a sample yet are known by their family's name.
    exposed |= {f"{name}_total" for name in exposed}
    named = set(re.findall(r"\blotus_guard_[a-z_]+", (ROOT / path).read_text()))
    named -= {"lotus_guard_tap"}
    assert named - exposed == set()


def log_lines(*levels: str) -> list[str]:
    """What the service writes to its log, without what is filled in."""
    lines = []
    for path in (ROOT / "lotus_guard").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in levels
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "_log"
            ):
                lines.append(str(ast.literal_eval(node.args[0])))
    return lines


def unexplained(lines: Iterable[str]) -> list[str]:
    """A row has a piece of each line that is as long as four words, or all of it."""
    told = re.sub(r"…", "", " ".join(re.findall(r"^\| ([^|]+) \|", TROUBLE, re.MULTILINE)))
    told = " ".join(told.split())
    lost = []
    for line in lines:
        pieces = [piece.split() for piece in re.split(r"\{[^}]*\}", line)]
        runs = [" ".join(p[i : i + 4]) for p in pieces for i in range(max(1, len(p) - 3)) if p]
        if not any(run.rstrip(":.") in told for run in runs if len(run) > 8):
            lost.append(line)
    return lost


def test_every_warning_and_error_is_explained() -> None:
    assert unexplained(log_lines("warn", "error", "critical")) == []


def test_every_other_line_is_explained() -> None:
    lines = log_lines("info")
    assert len(lines) > 4
    assert unexplained(lines) == []


def answers_of_our_own() -> list[str]:
    """The sentences that clients get, with the fields in them."""
    words = json.loads((ROOT / "lotus_guard/words/en.json").read_text())
    texts = [each if isinstance(each, str) else each["other"] for each in words.values()]
    keys = dict(zip(words, texts, strict=True))
    return [text for key, text in keys.items() if not key.startswith(PAGES)]


PAGES = ("landing_", "example_")
"""Their texts are on a page, and in no answer."""


def said_as_it_stands() -> list[str]:
    """What our answers say in no other language: a homeserver reads it."""
    found = []
    for path in (ROOT / "lotus_guard/web").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Sentence":
                key = str(ast.literal_eval(node.args[0])) if is_constant(node.args[0]) else ""
                found += [key] if " " in key else []
    return found


def is_constant(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant)


def test_every_answer_of_our_own_is_explained() -> None:
    answers, others = answers_of_our_own(), said_as_it_stands()
    assert len(answers) > 25
    assert len(others) == 3
    pieces = [re.split(r"\{[^}]*\}|\. ", text) for text in (*answers, *others)]
    parts = [part.strip(" .") for each in pieces for part in each]
    assert [part for part in parts if len(part.split()) > 3 and part not in TROUBLE] == []


def alerts() -> list[str]:
    groups = yaml.safe_load((ROOT / "deploy/monitoring/alerts.yml").read_text())["groups"]
    return [rule["alert"] for group in groups for rule in group["rules"]]


def test_every_alert_has_a_section_to_link_to() -> None:
    sections = TROUBLE[TROUBLE.index("\n## Metrics and alerts\n") :]
    assert re.findall(r"^### (LotusGuard\w+)$", sections, re.MULTILINE) == alerts()


def test_the_headings_that_others_link_to_stay() -> None:
    parts = ("Synapse", "LiveKit", "lk-jwt-service", "Redis", "State file", "Clients and floods")
    for part in parts:
        assert f"\n## {part}\n" in TROUBLE, part


def test_every_verdict_is_explained() -> None:
    told = TROUBLE[TROUBLE.index("## Decisions in the log") :]
    source = (ROOT / "lotus_guard/rules/rulings.py").read_text()
    verdicts = ("refused", "unguarded", "not enforced", "narrowed: ", "silenced", "curbed")
    for verdict in (*verdicts, "put out of the call", "left alone", "valid for ", "may publish "):
        assert verdict in source
        assert f"`{verdict.strip()}" in told or verdict in told


@pytest.mark.parametrize("page", ["docs/rules.md", "docs/moderators.md"])
def test_the_table_of_policies_has_every_rule(page: str) -> None:
    row = re.compile(r"^\| `(io\.lotus\.\w+)` \| `(.*?)` \| (.*) \|$", re.MULTILINE)
    assert row.findall((ROOT / page).read_text()) == [
        (rule.event, json.dumps(dict(example.content)), example.meaning)
        for rule in RULES
        for example in rule.examples
    ]


def packages() -> list[str]:
    """All packages of the guard, and the modules that are in none."""
    root = ROOT / "lotus_guard"
    modules = [path.name for path in root.glob("*.py") if path.name != "__init__.py"]
    return sorted(modules + [f"{path.parent.name}/" for path in root.glob("*/__init__.py")])


def test_every_package_is_in_the_table_of_packages_once() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    table = page[page.index("| package |") : page.index("## Where to change what")]
    assert sorted(re.findall(r"^\| `([\w./]+)` \|", table, re.MULTILINE)) == packages()
    for path in (ROOT / "deploy/lib").glob("[a-z]*.py"):
        assert page.count(f"`{path.name}`") == 1, path


def test_every_metric_is_explained() -> None:
    told = " ".join(page.read_text() for page in ROOT.glob("docs/*.md"))
    lost = {name for name in exposed_families() if name not in told}
    assert lost == set()


@pytest_twisted.ensureDeferred
async def test_every_field_of_a_room_is_explained(world: World) -> None:
    table = OPERATING[OPERATING.index("has these fields for each room:") :].split("\n\n")[1]
    told = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)))
    world.start_guard()
    await world.ask("alice", TWO)
    (room,) = world.guard.overview.live_rooms()
    assert sorted(told) == sorted(room)


def test_every_link_leads_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in link:
                assert (page.parent / link).exists(), (page.name, link)


def test_the_readme_fits_on_a_screen() -> None:
    """Whatever is detailed has a page; this one says what it is and where to go."""
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= MOST_README_LINES


def blocks(*kinds: str) -> list[tuple[str, str, str]]:
    """All blocks of code: page, kind, text."""
    found = []
    for page in [ROOT / "README.md", *ROOT.glob("docs/*.md")]:
        fences = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
        found += [(page.name, kind, text) for kind, text in fences]
    return [block for block in found if not kinds or block[1] in kinds]


def test_every_command_is_run_by_a_test_or_marked() -> None:
    """`make test` is what CI runs, and `tests/real/test_make_run.py` runs `make run`."""
    for page, _, block in blocks("sh"):
        is_run = block in ("make run\n", "make test\n")
        assert is_run or block.startswith("# real-host\n"), (page, block)


def test_every_kind_of_block_is_looked_at() -> None:
    """Proxies by tests/real/test_proxies.py, sh by tests/deploy/test_shell.py, the others here.

    Python is run by tests/test_documented_rule.py, js by tests/browser/test_element_call.py, and
    Nix is parsed by tests/packages/test_other_ways.py.
    """
    proxies = {"nginx", "caddy", "haproxy"}
    kinds = {"sh", "yaml", "python", "js", "nix", "", *proxies}
    assert {kind for _, kind, _ in blocks()} <= kinds
    assert {page for page, _, _ in blocks("python")} == {"architecture.md"}
    assert {page for page, _, _ in blocks("js")} == {"clients.md"}
    other = [(page, text) for page, _, text in blocks("") if not is_known(text)]
    assert other == []


def is_known(text: str) -> bool:
    """Return whether a block without a language is one that is checked below, or none to type."""
    return bool(variables_of(text) or directives_of(text)) or any(
        mark in text
        for mark in (
            "──▶",
            "replay  the same",
            "not checked. Fix ",  # as tests/commands/test_check_report.py has it
            *("table inet", "handle /panel/"),
            *("/addwidget", "<meta name"),  # looked at by tests/web/panel/test_files.py
        )
    )


def variables_of(text: str) -> dict[str, str]:
    return dict(re.findall(r"^(L[A-Z_]+)=(.*)$", text, re.MULTILINE))


def directives_of(text: str) -> list[str]:
    return re.findall(r"^\[(?:Service|Socket)\]$|^([A-Z]\w+)=", text, re.MULTILINE)


def test_settings_that_a_page_shows_are_the_guards(tmp_path: Path) -> None:
    shown = [variables_of(text) for _, _, text in blocks("")]
    assert sum(map(len, shown)) > 2
    (tmp_path / "file").write_text("a-secret-of-16-characters-or-more")
    (tmp_path / "registration").write_text(
        "hs_token: a-secret\nas_token: another\nnamespaces: {users: [{regex: '@.*:s'}]}"
    )
    for each in shown:
        there = {n: str(tmp_path / "file") if "_FILE" in n else v for n, v in each.items()}
        there |= {n: str(tmp_path / "registration") for n in there if "REGISTRATION" in n}
        read_config({**GOOD, **there})


def test_yaml_that_a_page_shows_is_yaml() -> None:
    for page, _, text in blocks("yaml"):
        assert isinstance(yaml.safe_load(text), dict), page
    (modules,) = [
        found for _, _, text in blocks("yaml") if "modules" in (found := yaml.safe_load(text))
    ]
    (module,) = modules["modules"]
    source = (ROOT / "lotus_guard/synapse_module.py").read_text()
    assert module["module"].rpartition(".")[2] in source
    assert all(f'"{name}"' in source for name in module["config"])


def test_units_that_a_page_shows_know_the_variables() -> None:
    shown = "\n".join(text for _, _, text in blocks("") if "[Service]" in text)
    for name, credential in re.findall(r"^Environment=(\w+)=%d/([\w-]+)$", shown, re.MULTILINE):
        assert name in variable_names()
        assert f"LoadCredential={credential}:" in shown
