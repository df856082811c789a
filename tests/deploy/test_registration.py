"""The one line of a registration: read strictly, changed alone, refused where it is unclear."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.lib import files
from deploy.lib.homeserver import DEFAULT_LISTEN, KNOWS, LISTEN, Door
from deploy.lib.host import Host
from deploy.lib.registration import KEY, Unclear, is_ours, read_way, replace_line
from deploy.lib.trial import moved_aside
from deploy.lib.unit import Service, listen_stream
from tests.real.processes import ROOT

HOME = "http://127.0.0.1:8069"
GOOD_LINES = [
    f"{KEY}: http://localhost:8070",
    f'{KEY}: "http://localhost:8070"',
    f"{KEY}:   'http://localhost:8070'  # here: http://127.0.0.1:1",
    f'"{KEY}" : http://[::1]:8070/',
    f"'{KEY}': http://127.0.0.2:8070/a/b ",
]
UNCLEAR = [
    f"{KEY}: http://127.0.0.1:8070\n{KEY}: http://127.0.0.1:8070",
    f"a:\n  {KEY}: http://127.0.0.1:8070",
    f"{{id: x, {KEY}: http://127.0.0.1:8070}}",
    f"{KEY}: &a http://127.0.0.1:8070",
    f"{KEY}: >-\n  http://127.0.0.1:8070",
    f"{KEY}:\n  http://127.0.0.1:8070",
    f"{KEY}: http://127.0.0.1\n  :8070",
    f"{KEY}: http://127.0.0.1\n# a comment\n\n  :8070",
    f'{KEY}: "http://127.0.0.1:80\\x37\\x30"',
    f"{KEY}: 'http://127.0.0.1:8070",
    f"{KEY}: http://user:word@127.0.0.1:8070",
    f"{KEY}: http://127.0.0.1:99999",
    f"{KEY}: http://[::1:8070",
    f"{KEY}: 127.0.0.1:8070",
    f"{KEY}: ",
    f"\ufeff{KEY}: http://127.0.0.1:8070",
    f"- {KEY}: http://127.0.0.1:8070",
]


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
@pytest.mark.parametrize("line", GOOD_LINES)
def test_only_the_address_changes(tmp_path: Path, line: str, end: str) -> None:
    path = tmp_path / "registration.yaml"
    before = f"# {KEY}: http://old:1\nid: x{end or chr(10)}".encode() + b"a: \xc3\xa4 \n"
    after = b"" if not end else b"namespaces: {}\nhs_token: y"
    path.write_bytes(before + line.encode() + end.encode() + after)
    path.chmod(0o604)
    way = read_way(path.read_bytes())
    assert way is not None
    assert (way.port, way.is_loopback) == (8070, True)
    fields = yaml.safe_load(path.read_bytes())
    replace_line(path, way.line, way.led_to(HOME))
    text = path.read_bytes()
    assert text.startswith(before)
    assert text.endswith(end.encode() + after)
    assert path.stat().st_mode & 0o777 == 0o604
    rest = way.url.partition(":8070")[2]
    assert yaml.safe_load(text) == {**fields, KEY: f"{HOME}{rest}"}
    replace_line(path, way.led_to(HOME), way.with_port(8070))
    assert path.read_bytes() == before + line.encode() + end.encode() + after


@pytest.mark.parametrize("text", UNCLEAR)
def test_what_could_mean_something_else_is_refused(text: str) -> None:
    with pytest.raises(Unclear) as caught:
        read_way(f"hs_token: secret\n{text}\n".encode())
    assert "secret" not in str(caught.value)
    assert "word" not in str(caught.value)


@pytest.mark.parametrize("text", [f"# {KEY}: http://a:1\n", "", "proxy_url: http://a:1\n"])
def test_without_it_there_is_no_way(text: str) -> None:
    assert read_way(text.encode()) is None


def test_a_line_that_was_changed_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "registration.yaml"
    path.write_text("a\nb\nb\n")
    for line in (b"b", b"c"):
        with pytest.raises(Unclear, match="meanwhile"):
            replace_line(path, line, b"d")
    assert path.read_text() == "a\nb\nb\n"


def test_whose_address_it_is() -> None:
    assert is_ours("127.0.0.1")
    assert not is_ours("192.0.2.1")
    assert not is_ours("no-such-host.invalid")


def door(tmp_path: Path, line: str, **environment: str) -> Door:
    host = Host(tmp_path)
    files.write(host.path("/etc/r.yaml"), f"hs_token: x\n{line}\n")
    unit = "[Service]\nEnvironment=LIVEKIT_AS_REGISTRATION_FILE=/etc/old.yaml\n"
    files.write(host.path("/usr/lib/systemd/system/lk-jwt-service.service"), unit)
    drop_in = "[Service]\nEnvironment=\nEnvironmentFile=-/etc/jwt\n"
    files.write(host.path("/run/systemd/system/lk-jwt-service.service.d/a.conf"), drop_in)
    files.write(host.path("/etc/jwt"), "LIVEKIT_AS_REGISTRATION_FILE='/etc/r.yaml'\n")
    return Door(host, {}, Service(environment))


def test_the_registration_is_found_where_lk_jwt_service_finds_it(tmp_path: Path) -> None:
    found = door(tmp_path, GOOD_LINES[0])
    assert found.path == tmp_path / "etc/r.yaml"
    assert found.values == {LISTEN: DEFAULT_LISTEN}
    assert (found.url, found.is_led_here, found.by_hand) == (HOME, False, "")
    assert "LoadCredential=as-registration:/etc/r.yaml\n" in found.knows


@pytest.mark.parametrize(("port", "end"), [(8070, ""), (8071, "\r")])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]", "0.0.0.0"])
def test_both_ports_of_lk_jwt_service_are_known_however_spelled(
    tmp_path: Path, host: str, port: int, end: str
) -> None:
    found = door(tmp_path, f"{KEY}: http://{host}:{port}{end}")
    assert found.by_hand == ""
    found.lead_here()
    assert f"{KEY}: {HOME}{end}\n".encode() in found.path.read_bytes()
    again = door_again(found)
    assert again.is_led_here
    done = subprocess.run(
        ["/bin/sh", ROOT / "deploy/revert", "--root", tmp_path],
        env={"PATH": os.environ["PATH"], "SYSTEMCTL": "false", "REVERT_SECONDS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "now restart Synapse" in done.stdout, done
    assert f"{KEY}: http://{host}:8070{end}\n".encode() in found.path.read_bytes()


def door_again(found: Door) -> Door:
    return Door(found.host, found.given, found.service)


@pytest.mark.parametrize("where", ["http://127.0.0.1:80", "http://192.0.2.1:8070", "http://a"])
def test_what_leads_elsewhere_is_for_the_operator(tmp_path: Path, where: str) -> None:
    found = door(tmp_path, f"{KEY}: {where}")
    assert f"By hand, if it ends there: `{KEY}: {HOME}`" in found.by_hand
    assert found.is_wanted


def test_an_address_that_others_reach_is_for_the_operator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.lib.registration.is_ours", lambda host: host == "10.0.0.7")
    found = door(tmp_path, f"{KEY}: http://10.0.0.7:8070")
    assert f"{LISTEN}=tcp:8069:interface=10.0.0.7" in found.by_hand
    led = door(
        tmp_path,
        f"{KEY}: http://10.0.0.7:8069",
        LOTUS_GUARD_HOMESERVER_LISTEN="tcp:8069:interface=10.0.0.7",
    )
    assert (led.by_hand, led.is_led_here) == ("", True)


def test_a_port_that_is_none_is_for_the_operator(tmp_path: Path) -> None:
    found = door(tmp_path, GOOD_LINES[0], LOTUS_GUARD_HOMESERVER_LISTEN="unix:/run/x")
    assert "is not a TCP port" in found.by_hand


@pytest.mark.parametrize(
    ("listen", "stream"),
    [
        ("tcp:8069:interface=192.168.1.20", "192.168.1.20:8069"),
        ("tcp:port=8068:interface=localhost", "127.0.0.1:8068"),
        (r"tcp6:8069:interface=\:\:1", "[::1]:8069"),
        ("tcp:8069", "0.0.0.0:8069"),
        ("tcp6:8069", "[::]:8069"),
    ],
)
def test_systemd_holds_the_port_that_the_settings_name(
    tmp_path: Path, listen: str, stream: str
) -> None:
    found = door(tmp_path, GOOD_LINES[0], LOTUS_GUARD_HOMESERVER_LISTEN=listen)
    assert f"[Socket]\nListenStream=\nListenStream={stream}\n" in found.listens
    assert "Wants=voice-limit-guard-homeserver.socket\n" in found.knows


def test_the_sockets_own_address_takes_no_drop_in(tmp_path: Path) -> None:
    assert door(tmp_path, GOOD_LINES[0]).listens == ""
    unit = (ROOT / "systemd/voice-limit-guard-homeserver.socket").read_text()
    assert f"ListenStream={listen_stream(DEFAULT_LISTEN)}\n" in unit


@pytest.mark.parametrize("listen", ["unix:/run/x", "tcp:8069:interface=guard.internal"])
def test_what_systemd_cannot_listen_on_the_guard_listens_on_itself(
    tmp_path: Path, listen: str
) -> None:
    found = door(tmp_path, GOOD_LINES[0], LOTUS_GUARD_HOMESERVER_LISTEN=listen)
    assert found.listens == ""
    assert "Wants=" not in found.knows
    assert "LoadCredential" in found.knows


def test_a_registration_that_is_away_keeps_no_guard_from_starting(tmp_path: Path) -> None:
    """systemd starts no service whose credential is missing."""
    found = door(tmp_path, GOOD_LINES[0])
    found.path.unlink()
    assert "LoadCredential" not in door_again(found).knows
    assert "No such file" in door_again(found).by_hand


def test_what_the_operator_has_told_the_guard_stays(tmp_path: Path) -> None:
    told = door(tmp_path, GOOD_LINES[0], LIVEKIT_HS_TOKEN="x")
    assert "LoadCredential" not in told.knows
    other = door(tmp_path, GOOD_LINES[0], LIVEKIT_AS_REGISTRATION_FILE="/run/readable.yaml")
    assert "LoadCredential" not in other.knows
    assert KNOWS.endswith(".conf")


def test_the_guard_waits_with_lk_jwt_service_where_it_is(tmp_path: Path) -> None:
    """Until the drop-in moves it: then the same unit serves all ports."""
    found = door(tmp_path, GOOD_LINES[0])
    unit = "[Service]\nExecStart=/bin/sh -c 'echo \"$$LOTUS_GUARD_UPSTREAM\"'\n"
    text = found.waits([unit])
    assert found.waits([unit, text]) == text
    command = text[text.rindex("ExecStart=") + len("ExecStart=") :].strip().replace("$$", "$")
    drop_in = tmp_path / "port.conf"
    command = command.replace(
        "/etc/systemd/system/lk-jwt-service.service.d/port.conf", str(drop_in)
    )
    said = ["sh", "-c", command]
    assert subprocess.check_output(said, text=True) == "http://127.0.0.1:8070\n"
    drop_in.touch()
    assert subprocess.check_output(said, text=True) == "\n"


def test_a_guard_on_trial_leaves_the_homeservers_port_alone(tmp_path: Path) -> None:
    tried = moved_aside(Service({LISTEN: DEFAULT_LISTEN}), tmp_path)
    assert tried.homeserver not in (None, HOME)
    assert moved_aside(Service({}), tmp_path).homeserver is None
