"""The deployer's parts, by themselves; the commands are tried out in the other modules."""

import ast
import os
import re
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from deploy.lib import answers, files, probe, state
from deploy.lib.build import compile_all
from deploy.lib.host import Exit, Host, Trouble, run
from deploy.lib.releases import Pending, Releases
from deploy.lib.settings import DEFAULTS, read_settings
from deploy.lib.source import Directory, own_source, source_of
from deploy.lib.steps import Walk
from deploy.lib.trial import moved_aside
from deploy.lib.unit import (
    Service,
    address,
    directives,
    quoted,
    service_environment,
)
from lotus_guard.rules import RULES, STANDING
from lotus_guard.run.config import read_config
from lotus_guard.run.env_file import parse_environment
from tests.test_docs import GOOD

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/deploying.md").read_text()


def release(releases: Releases, name: str, age: float = 0.0, finished: bool = True) -> None:
    directory = releases.directory(name)
    directory.mkdir(parents=True)
    if finished:
        (directory / "finished").touch()
        os.utime(directory / "finished", (time.time() - age, time.time() - age))


def test_the_page_has_every_exit_code_and_setting() -> None:
    codes = dict(re.findall(r"^\| (\d+) \| `([A-Z_]+)` \|", PAGE, re.MULTILINE))
    assert codes == {str(int(code)): code.name for code in Exit}
    rows = re.findall(r"^\| `([A-Z_]+)` \|(?: `([^`|]+)`)? \|", PAGE, re.MULTILINE)
    assert {name: value.strip() for name, value in rows if name in DEFAULTS} == DEFAULTS


def test_every_requirement_is_pinned_with_hashes() -> None:
    text = (ROOT / "deploy/requirements.txt").read_text()
    pins = dict(re.findall(r"^([a-z0-9-]+)==(\S+) \\$", text, re.MULTILINE))
    blocks = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]
    assert len(pins) == len(blocks)
    assert all("--hash=sha256:" in block for block in blocks)
    module = ast.parse((ROOT / "setup.py").read_text())
    values: dict[str, Any] = {
        node.targets[0].id: node.value
        for node in module.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for wanted in [*ast.literal_eval(values["RUNTIME"]), "setuptools>=69"]:
        name, least = re.fullmatch(
            r"([A-Za-z0-9-]+)(?:\[\w+\])?>=([\d.]+)(?:,<[\d.]+)?", wanted
        ).groups()  # type: ignore[union-attr]
        assert name.lower() in pins, f"{name} is not in deploy/requirements.txt"
        assert numbers(pins[name.lower()]) >= numbers(least), wanted


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


@pytest.mark.parametrize(
    "value", ["plain", "two words", 'a"b', "a\\b", "$HOME `x`", "#no", "é", ""]
)
def test_what_is_quoted_is_read_back(value: str) -> None:
    assert parse_environment(f"# x\nNAME={quoted(value)}\n") == {"NAME": value}


def test_a_value_of_two_lines_is_no_value() -> None:
    with pytest.raises(ValueError, match="line end"):
        quoted("a\nb")


def test_the_units_environment_is_put_together(tmp_path: Path) -> None:
    host = Host(tmp_path)
    unit = "[Service]\nEnvironment=A=1 B=2\nEnvironment=K_FROM_FILE=%d/key\nLoadCredential=key:/k\n"
    files.write(host.units / "voice-limit-guard.service", unit)
    drop_in = host.units / "voice-limit-guard.service.d/own.conf"
    files.write(drop_in, "[Service]\nEnvironment=B=3 C=4\n")
    files.write(host.environment_file, "C=5\n")
    found = service_environment(host)
    assert found == {"A": "1", "B": "3", "C": "5", "K_FROM_FILE": f"{tmp_path}/k"}


def test_an_empty_directive_forgets_those_before_it() -> None:
    assert directives(["User=a\nUser=\nUser=b\n"], "User") == ["b"]


@pytest.mark.parametrize("variable", ["LOTUS_GUARD_LISTEN", "LOTUS_GUARD_ADMIN_LISTEN"])
def test_the_defaults_are_the_guards(variable: str) -> None:
    config, service = read_config(GOOD), Service({})
    attribute = "listen" if variable == "LOTUS_GUARD_LISTEN" else "admin_listen"
    url = service.public if attribute == "listen" else service.operators
    assert url == address(getattr(config, attribute))
    assert service.upstream == config.upstream
    assert service.state_file(Path("/d")) == Path("/d") / config.state.name


def test_an_endpoint_has_an_address() -> None:
    assert address("tcp:8070") == "http://127.0.0.1:8070"
    assert address("tcp:1:interface=0.0.0.0") == "http://127.0.0.1:1"
    assert address("tcp:1:interface=\\:\\:1") == "http://[::1]:1"
    assert address("unix:/x") is None


def test_only_so_many_releases_are_kept(tmp_path: Path) -> None:
    releases = Releases(Host(tmp_path))
    for age in range(7):
        release(releases, f"r{age}", age * 100.0)
    release(releases, "half", finished=False)
    releases.point("current", "r5")
    releases.point("previous", "r6")
    assert sorted(releases.tidy(5)) == ["half", "r3", "r4"]
    assert sorted(path.name for path in (releases.opt / "releases").iterdir()) == [
        "r0",
        "r1",
        "r2",
        "r5",
        "r6",
    ]
    assert releases.tidy(5) == []


def test_the_release_to_come_back_to_is_kept(tmp_path: Path) -> None:
    releases = Releases(Host(tmp_path))
    for age in range(4):
        release(releases, f"r{age}", age * 100.0)
    releases.point("current", "r0")
    releases.begin(Pending("r0", "r3"))
    assert releases.tidy(2) == ["r2", "r1"]


def test_no_link_leads_to_half_a_release(tmp_path: Path) -> None:
    releases = Releases(Host(tmp_path))
    release(releases, "half", finished=False)
    with pytest.raises(Trouble, match="not finished"):
        releases.point("current", "half")
    with pytest.raises(Trouble, match="name of a release"):
        releases.directory("../x")


def test_state_is_copied_out_of_the_wal_of_a_guard_that_runs(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a")) as running:
        running.execute("PRAGMA journal_mode = WAL")
        running.execute("CREATE TABLE t (x)")
        running.execute("INSERT INTO t VALUES (1)")
        running.commit()
        assert state.copy(tmp_path / "a", tmp_path / "b")
        assert state.schema(tmp_path / "a") == state.schema(tmp_path / "b") != []
        running.execute("ALTER TABLE t RENAME COLUMN x TO y")
        running.commit()
        assert state.schema(tmp_path / "a") != state.schema(tmp_path / "b")
        assert state.copy(tmp_path / "b", tmp_path / "a")
        assert running.execute("SELECT x FROM t").fetchall() == [(1,)]


def test_what_is_no_database_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("no database, however long " * 50)
    assert not state.copy(tmp_path / "a", tmp_path / "b")
    assert not state.copy(tmp_path / "missing", tmp_path / "b")


def test_every_file_is_compiled_and_scripts_too(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    (tmp_path / "good.py").write_text("x = 1\n")
    script = tmp_path / "deploy/install"
    script.write_text("#!/usr/bin/env python3\nx = 1\n")
    (tmp_path / "deploy/revert").write_text("#!/bin/sh\n(\n")
    compile_all(tmp_path)
    script.write_text("#!/usr/bin/env python3\ndef (\n")
    with pytest.raises(Trouble, match="install"):
        compile_all(tmp_path)


def test_this_tree_compiles(tmp_path: Path) -> None:
    own = Directory(ROOT)
    own.export(own.revision(), tmp_path / "tree")
    compile_all(tmp_path / "tree")
    assert os.access(tmp_path / "tree/deploy/auto-deploy", os.X_OK)


def test_a_directory_is_named_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = Directory(tmp_path).revision()
    (tmp_path / ".hidden").write_text("x")
    assert Directory(tmp_path).revision() == first
    (tmp_path / "a").chmod(0o755)
    second = Directory(tmp_path).revision()
    (tmp_path / "a").write_text("2")
    assert len({first, second, Directory(tmp_path).revision()}) == 3
    assert own_source(tmp_path).revision() == Directory(tmp_path).revision()


@pytest.mark.parametrize(("source", "branch"), [("", "main"), ("-x", "main"), ("h:x", "-b")])
def test_a_source_cannot_be_an_option(source: str, branch: str) -> None:
    with pytest.raises(Trouble) as caught:
        source_of(source, branch)
    assert caught.value.code is Exit.USAGE


@pytest.mark.parametrize("line", ["KEEP=1", "KEEP=x", "PROBE_SECONDS=-1", "SORCE=x"])
def test_a_setting_that_makes_no_sense_is_named(tmp_path: Path, line: str) -> None:
    files.write(Host(tmp_path).deploy_file, f"{line}\n")
    with pytest.raises(Trouble, match=line.partition("=")[0]):
        read_settings(Host(tmp_path), {})


def test_what_is_said_already_is_not_asked_for(tmp_path: Path) -> None:
    host = Host(tmp_path)
    files.write(host.environment_file, "LIVEKIT_KEY_FILE=/k\nLIVEKIT_URL=ws://h")
    held = answers.held(host, [])
    found = answers.given(
        {
            "LIVEKIT_URL": "ws://other",
            "LOTUS_GUARD_SYNAPSE_URL": "http://s",
            "LOTUS_GUARD_SYNAPSE_TOKEN": "t t",
            "LIVEKIT_JWT_BIND": ":1",
        },
        answers.known_names((ROOT / "deploy/environment.sample").read_text()),
        held,
    )
    answers.demand(found, held)
    assert found == {"LOTUS_GUARD_SYNAPSE_URL": "http://s", "LOTUS_GUARD_SYNAPSE_TOKEN": "t t"}
    answers.store(host, [], found)
    text = host.environment_file.read_text()
    assert text.startswith("LIVEKIT_KEY_FILE=/k\nLIVEKIT_URL=ws://h\nLOTUS_GUARD_SYN")
    assert parse_environment(text)["LOTUS_GUARD_SYNAPSE_TOKEN"] == "t t"


def test_steps_are_undone_in_reverse_and_all_of_them() -> None:
    done: list[str] = []

    def fails() -> None:
        raise Trouble("no")

    def also_fails() -> None:
        done.append("undo b")
        raise OSError("worse")

    def work() -> None:
        with Walk() as walk:
            walk.step("a", lambda: done.append("a"), lambda: done.append("undo a"))
            walk.step("b", lambda: done.append("b"), also_fails)
            walk.step("c", fails, lambda: done.append("undo c"))

    with pytest.raises(Trouble, match="no"):
        work()
    assert done == ["a", "b", "undo c", "undo b", "undo a"]


def test_a_guard_whose_upstream_is_away_is_not_blamed() -> None:
    service = Service(
        {
            "LOTUS_GUARD_LISTEN": "tcp:1:interface=127.0.0.1",
            "LOTUS_GUARD_ADMIN_LISTEN": "",
            "LOTUS_GUARD_UPSTREAM": "http://127.0.0.1:1",
        }
    )
    assert "no answer" in probe.fault(service), "the guard itself must answer"


@pytest.mark.parametrize("state", ["", "own.sqlite", "/var/lib/elsewhere/own.sqlite"])
def test_a_trial_is_aside_of_the_guard_that_runs(tmp_path: Path, state: str) -> None:
    service = Service({**GOOD, "LOTUS_GUARD_MODE": "enforce", "LOTUS_GUARD_STATE": state})
    tried = moved_aside(service, tmp_path)
    config = read_config(tried.environment)
    assert config.observed == {"live", "request", *(rule.name for rule in (*STANDING, *RULES))}
    assert config.state.parent == tmp_path
    assert tried.state_file(tmp_path) == config.state
    assert tried.upstream == service.upstream
    assert len({service.public, service.operators, tried.public, tried.operators}) == 4
    assert moved_aside(service, tmp_path, "http://127.0.0.1:1").upstream == "http://127.0.0.1:1"


def test_a_command_that_fails_says_what_it_wrote() -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    with pytest.raises(Trouble, match=r"ended with 3:\n(.*\n)*.*out"):
        run([sys.executable, "-c", code])
    assert run([sys.executable, "-c", code], accepted=(3,), apart=True) == "out\n"
    with pytest.raises(Trouble, match="cannot be run"):
        run(["/there/is/no/such/command"])
