"""deploy/install on a made-up host: in place, or as it was."""

from tests.deploy.madeup import Host


def test_the_guard_comes_to_stand_before_upstream(host: Host) -> None:
    with host.client() as client:
        done = host.install()
        assert done.returncode == 0, done.stdout
    print(f"install, socket: {client.told()}")
    assert client.gap < 3.0
    assert host.answers == "1"
    assert {"voice-limit-guard.socket", "voice-limit-guard.service"} <= host.systemd.enabled
    assert "voice-limit-guard-deploy.timer" in host.systemd.enabled
    environment = host.root / "etc/lotus-guard/environment"
    assert environment.stat().st_mode & 0o777 == 0o640
