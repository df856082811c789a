"""The gates that a release must pass beside the running one, before anything is switched."""

import ctypes
import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploy.lib import probe, state
from deploy.lib.host import Exit, Host, Trouble, neutral, run, say, tail
from deploy.lib.unit import DEFAULT_STATE, Service

CHECK_SECONDS = 180.0
STOP_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1
NOT_THE_TRIALS = ("pushes", "webhooks", "one-guard", "homeserver-route")
"""What `lotus-guard check` cannot tell of a trial: nobody pushes to its ports but our own probe,
its state is a copy, which names the guard of the state itself, and the homeserver hands nothing on
to it."""
TAKEN = os.strerror(errno.EADDRINUSE)
BEFORE_THE_MOVE = ("upstream-exposed",)
"""What it must find while upstream still has the public port."""


def free_port() -> int:
    """Find a port on loopback that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def scratch(host: Host) -> Iterator[Path]:
    """Make a directory for a trial's state, gone afterwards; one left by a power cut goes first."""
    for left in host.opt.glob(".trial-*"):
        shutil.rmtree(left, ignore_errors=True)
    directory = Path(tempfile.mkdtemp(dir=host.opt, prefix=".trial-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def trial_environment(service: Service, directory: Path) -> dict[str, str]:
    """Return the service's environment, with its state in `directory` instead."""
    settings = dict(service.environment)
    path = service.state_file(directory)
    if path:
        settings["LOTUS_GUARD_STATE"] = path.name
    outer = {n: v for n, v in neutral().items() if n in ("PATH", "LANG", "HOME", "TZ")}
    return {**outer, **settings, "STATE_DIRECTORY": str(directory)}


def check_offline(host: Host, release: Path, service: Service) -> None:
    """Run `lotus-guard check --offline` with the service's environment; raises Trouble.

    Its warnings do not stop a release; its faults do.
    """
    with scratch(host) as directory:
        command = [str(release / "venv/bin/lotus-guard"), "check", "--offline"]
        env = trial_environment(service, directory)
        run(command, env=env, cwd=directory, seconds=CHECK_SECONDS, accepted=(0, 1))


def try_out(
    host: Host,
    release: Path,
    service: Service,
    seconds: float,
    upstream: str = "",
    more: Callable[[dict[str, str]], None] = lambda _env: None,
) -> None:
    """Start a release on spare ports and probe every endpoint; raises Trouble.

    It must answer as it should within so many seconds.

    It works on a copy of the state and observes only, so that no call is touched twice.
    `upstream` is where lk-jwt-service is now; `more` is done while the trial runs, with its
    environment. Where somebody was faster at its ports, it is tried once more on others.
    """
    try:
        _try_out(host, release, service, seconds, upstream, more)
    except Trouble as why:
        if TAKEN not in str(why):
            raise
        say("  a spare port was taken meanwhile: trying again")
        _try_out(host, release, service, seconds, upstream, more)


def _try_out(
    host: Host,
    release: Path,
    service: Service,
    seconds: float,
    upstream: str,
    more: Callable[[dict[str, str]], None],
) -> None:
    with scratch(host) as directory:
        tried = moved_aside(service, directory, upstream)
        _copy_state(service.state_file(host.state), tried.state_file(directory))
        with _running(release, tried, directory) as process:
            log = directory / "log"

            def wrong() -> str:
                _alive(process, log)
                return probe.fault_anywhere(tried)

            try:
                probe.wait_until("the release on trial", wrong, seconds)
            except Trouble as why:
                raise Trouble(f"{why}\n{_log_of(log)}") from None
            more(tried.environment)
            _alive(process, log)


def _copy_state(path: Path | None, aside: Path | None) -> None:
    if path and aside:
        state.copy(path, aside)


def moved_aside(service: Service, directory: Path, upstream: str = "") -> Service:
    """Return a service that listens elsewhere, keeps its state elsewhere and changes no call."""
    env = trial_environment(service, directory)
    env["LOTUS_GUARD_LISTEN"] = f"tcp:{free_port()}:interface=127.0.0.1"
    env["LOTUS_GUARD_ADMIN_LISTEN"] = f"tcp:{free_port()}:interface=127.0.0.1"
    if env.get("LOTUS_GUARD_HOMESERVER_LISTEN"):
        env["LOTUS_GUARD_HOMESERVER_LISTEN"] = f"tcp:{free_port()}:interface=127.0.0.1"
    env["LOTUS_GUARD_MODE"] = "observe"
    if service.shares_its_state:
        # Not in Redis: it could get the lease of the live loop there, and does nothing with it.
        env["LOTUS_GUARD_STATE"] = DEFAULT_STATE
        env["LOTUS_GUARD_WORKERS"] = "1"
    if upstream:
        env["LOTUS_GUARD_UPSTREAM"] = upstream
    return Service(env)


def _log_of(log: Path) -> str:
    return tail(log.read_text(errors="replace")) if log.exists() else ""


def _alive(process: subprocess.Popen[bytes], log: Path) -> None:
    if process.poll() is not None:
        text = f"the release on trial ended by itself with {process.returncode}:\n{_log_of(log)}"
        raise Trouble(text)


@contextmanager
def _running(release: Path, service: Service, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a release; it ends with us, however we end."""
    command = [str(release / "venv/bin/twistd"), "--nodaemon", "--pidfile=", "lotus-guard"]
    prctl = ctypes.CDLL(None).prctl
    with (directory / "log").open("wb") as log:
        try:
            process = subprocess.Popen(  # noqa: S603
                command,
                cwd=directory,
                env=service.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
            )
        except OSError as error:
            raise Trouble(f"{command[0]} cannot be run: {error.strerror}") from None
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def findings_of(release: Path, env: Mapping[str, str]) -> list[dict[str, str]]:
    """Run the whole `lotus-guard check` and give what it finds; raises Trouble."""
    command = [str(release / "venv/bin/lotus-guard"), "check", "--json"]
    text = run(command, env=env, cwd=release, seconds=CHECK_SECONDS, accepted=(0, 1, 2), apart=True)
    try:
        found: list[dict[str, str]] = json.loads(text)["findings"]
    except (ValueError, KeyError):
        raise Trouble(
            f"lotus-guard check printed something that is not JSON:\n{tail(text)}"
        ) from None
    return found


def check_online(release: Path, env: Mapping[str, str], ignored: Sequence[str] = ()) -> None:
    """Run the whole `lotus-guard check`, say what it has found, and raise Trouble at a fault."""
    wrong = []
    for finding in findings_of(release, env):
        if finding["level"] in ("ok", "note") or finding["name"] in ignored:
            continue
        change = f". Fix: {finding['wanted']}" if finding["wanted"] else ""
        say(f"  {finding['level']:<8} {finding['name']:<22} {finding['seen']}{change}")
        if finding["level"] == "fault":
            wrong.append(finding["name"])
    if wrong:
        raise Trouble(f"lotus-guard check finds faults: {', '.join(wrong)}", Exit.REFUSED)
