"""What docs/ shows for playbooks, Kubernetes and NixOS, as far as no such platform is needed."""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from lotus_guard.run.config import read_config, variable_names
from lotus_guard.version import VERSION
from tests.packages.test_container import composed
from tests.packages.tools import require, run
from tests.real.processes import ROOT

KUBERNETES = ROOT / "deploy/kubernetes"
NIX = ROOT / "tests/packages/nix/evaluate.nix"
UNIT = (ROOT / "systemd/voice-limit-guard.service").read_text()
SOCKET = (ROOT / "systemd/voice-limit-guard.socket").read_text()


def page(name: str) -> str:
    return (ROOT / f"docs/{name}.md").read_text()


def yaml_of(name: str) -> list[Any]:
    return [
        yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", page(name), re.DOTALL)
    ]


def assert_makes_a_guard(settings: Mapping[str, str], folder: Path) -> Any:
    """The guard takes these settings, once the files that they name are there."""
    files = {"LIVEKIT_KEY_FILE": "key: secret"}
    there = {}
    for name, value in settings.items():
        is_file = name.endswith("_FILE")
        if is_file:
            (folder / name).write_text(files.get(name, "a-secret"))
        there[name] = str(folder / name) if is_file else value
    assert {name for name in there if name.startswith("LOTUS_GUARD_")} <= set(variable_names())
    return read_config({**there, "STATE_DIRECTORY": str(folder)})


def environment(container: Mapping[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container["env"]}


def assert_is_bare_and_whole(container: Mapping[str, Any], volumes: list[Any]) -> None:
    rights = container["securityContext"]
    assert rights["readOnlyRootFilesystem"]
    assert rights["capabilities"] == {"drop": ["ALL"]}
    assert not rights["allowPrivilegeEscalation"]
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert set(mounts) == {each["name"] for each in volumes}
    assert {"/var/lib/lotus-guard", "/tmp"} <= set(mounts.values())
    for name, value in environment(container).items():
        if name.endswith("_FILE"):
            assert str(Path(value).parent) in mounts.values(), name
    for probe in ("startupProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] == "/livez"
    assert "readinessProbe" not in container, "an outage of others is no reason to take it away"


def test_in_element_server_suite_the_guard_has_the_pods_port(tmp_path: Path) -> None:
    values = yaml.safe_load((KUBERNETES / "ess-values.yaml").read_text())["matrixRTC"]
    (guard,) = values["extraInitContainers"]
    assert guard["restartPolicy"] == "Always", "else the pod never starts"
    assert_is_bare_and_whole(guard, values["extraVolumes"])
    config = assert_makes_a_guard(environment(guard), tmp_path)
    assert config.listen == "tcp:8080"
    (bind,) = values["extraEnv"]
    assert bind["name"] == "LIVEKIT_JWT_BIND"
    assert config.upstream == f"http://{bind['value']}"
    secrets = values["extraVolumes"][2]["projected"]["sources"]
    paths = {f"/run/secrets/lotus-guard/{s['secret']['items'][0]['path']}" for s in secrets}
    assert {v for n, v in environment(guard).items() if n.endswith("_FILE")} == paths


def test_the_page_shows_a_part_of_the_values() -> None:
    values = yaml.safe_load((KUBERNETES / "ess-values.yaml").read_text())
    (shown,) = yaml_of("ess")
    assert is_part(shown, values)
    assert not is_part({"matrixRTC": {"extraEnv": [{"name": "X"}]}}, values)


def is_part(part: Any, whole: Any) -> bool:
    if isinstance(part, dict):
        return all(key in whole and is_part(value, whole[key]) for key, value in part.items())
    if isinstance(part, list):
        return all(any(is_part(each, other) for other in whole) for each in part)
    return bool(part == whole)


def test_the_manifests_fit_together(tmp_path: Path) -> None:
    documents = yaml.safe_load_all((KUBERNETES / "guard.yaml").read_text())
    deployment, service, ingress = documents
    assert [each["kind"] for each in (deployment, service, ingress)] == [
        "Deployment",
        "Service",
        "Ingress",
    ]
    spec = deployment["spec"]["template"]["spec"]
    (guard,) = spec["containers"]
    assert_is_bare_and_whole(guard, spec["volumes"])
    assert_makes_a_guard(environment(guard), tmp_path)
    assert spec["securityContext"]["runAsUser"] == 10001
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"] == labels
    ports = {each["name"]: each["containerPort"] for each in guard["ports"]}
    assert ports == {"http": 8070, "operators": 8072}
    (port,) = service["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (8070, "http"), "the operators' port stays inside"
    paths = ingress["spec"]["rules"][0]["http"]["paths"]
    assert {each["path"] for each in paths} == {"/sfu/get", "/get_token", "/delegate_delayed_leave"}
    backends = {json.dumps(each["backend"]["service"]) for each in paths}
    assert backends == {json.dumps({"name": service["metadata"]["name"], "port": {"name": "http"}})}


@pytest.mark.real
def test_the_playbooks_neighbour_is_what_its_page_says(tmp_path: Path) -> None:
    folder = tmp_path / "livekit-jwt-service"
    folder.mkdir()
    played = {"LIVEKIT_URL": "wss://h/livekit-server", "LIVEKIT_KEY": "k", "LIVEKIT_SECRET": "s"}
    (folder / "env").write_text("".join(f"{n}={v}\n\n" for n, v in played.items()))
    (tmp_path / ".env").write_text(
        f"MATRIX_HOST=matrix.example.org\nMATRIX_BASE_DATA_PATH={tmp_path}\n"
    )
    (tmp_path / "docker").mkdir()
    file = "--env-file", str(tmp_path / ".env")
    made = composed("mdad/compose.yaml", tmp_path / "docker", *file)
    guard = made["services"]["guard"]
    assert (guard["read_only"], guard["cap_drop"]) == (True, ["ALL"])
    assert [port["host_ip"] for port in guard["ports"]] == ["127.0.0.1"]
    config = assert_makes_a_guard(guard["environment"], tmp_path)
    assert config.upstream == "http://matrix-livekit-jwt-service:8080"
    assert {each["name"] for each in made["networks"].values()} == {"traefik", "matrix-addons"}
    labels = guard["labels"]
    text = page("matrix-docker-ansible-deploy")
    rule = labels["traefik.http.routers.lotus-guard.rule"]
    assert rule == "Host(`matrix.example.org`) && PathPrefix(`/livekit-jwt-service`)"
    for name in ("entrypoints", "tls.certResolver"):
        assert f"`{labels[f'traefik.http.routers.lotus-guard.{name}']}`" in text
    for variables in yaml_of("matrix-docker-ansible-deploy"):
        assert all(name.startswith("matrix_") for name in variables)


def test_compose_lines_on_the_page_for_containers_are_the_guards(tmp_path: Path) -> None:
    (shown,) = yaml_of("install-containers")
    service = shown["services"]["lotus-guard"]
    assert service["read_only"]
    assert_makes_a_guard(service["environment"], tmp_path)


def test_traefiks_lines_name_one_router_service_and_middleware() -> None:
    file, labels = yaml_of("proxies")
    (router,) = file["http"]["routers"].values()
    assert router["service"] in file["http"]["services"]
    assert set(router["middlewares"]) == set(file["http"]["middlewares"])
    flat = labels["labels"]
    assert flat["traefik.http.routers.lotus-guard.rule"] == router["rule"]
    prefix = flat["traefik.http.middlewares.lotus-guard.stripprefix.prefixes"]
    assert file["http"]["middlewares"]["lotus-guard"]["stripPrefix"]["prefixes"] == [prefix]
    assert f"PathPrefix(`{prefix}`)" in router["rule"]


def nix(*words: str) -> str:
    require("nix-instantiate", shutil.which("nix-instantiate") is not None)
    return run(["nix-instantiate", *words]).stdout


@pytest.mark.real
def test_the_nix_that_the_page_shows_can_be_parsed() -> None:
    blocks = re.findall(r"```nix\n(.*?)```", page("nixos"), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        nix("--parse", "--expr", block)


@pytest.mark.real
def test_the_nixos_module_makes_the_units_that_systemd_has_elsewhere(tmp_path: Path) -> None:
    """With what docs/nixos.md configures, and a stand-in for nixpkgs."""
    block = re.findall(r"```nix\n(.*?)```", page("nixos"), re.DOTALL)[0]
    guard = (
        f"({block.replace('imports = [ /etc/nixos/lotus_guard/deploy/nixos/module.nix ];', '')})"
    )
    given = [
        word
        for name in ("settings", "secretFiles")
        for word in ("--arg", name, f"{guard}.services.lotus-guard.{name}")
    ]
    found = json.loads(nix("--eval", "--strict", "--json", str(NIX), *given))
    config = found["config"]
    bind = config["services"]["lk-jwt-service"]["environment"]["LIVEKIT_JWT_BIND"]
    unit = config["systemd"]["services"]["voice-limit-guard"]
    made = assert_makes_a_guard(unit["environment"], tmp_path)
    assert made.upstream == f"http://{bind}"
    service = unit["serviceConfig"]
    names = {each.partition(":")[0] for each in service["LoadCredential"]}
    assert {f"%d/{name}" for name in names} <= set(unit["environment"].values())
    assert service["ExecStart"].endswith("/bin/twistd --nodaemon --pidfile= lotus-guard")
    for name, value in [*service.items(), *socket_of(config).items()]:
        assert as_systemd(name, value) <= lines(UNIT + SOCKET, name), name
    etc = config["environment"]["etc"]["lotus-guard/environment"]
    assert 'LIVEKIT_KEY_FILE="/run/secrets/livekit-keys"\n' in etc["text"]
    assert found["package"]["version"] == VERSION
    wanted = {each["pname"].replace("py", "", 1) for each in found["package"]["dependencies"]}
    setup = (ROOT / "setup.py").read_text()
    runtime = setup[setup.index("RUNTIME = [") : setup.index("TEST = [")].lower()
    assert all(name in runtime for name in wanted), wanted


def socket_of(config: Any) -> dict[str, Any]:
    return dict(config["systemd"]["sockets"]["voice-limit-guard"]["socketConfig"])


def as_systemd(name: str, value: Any) -> set[str]:
    """Return what a unit has for a value of Nix, apart from what NixOS has other paths for."""
    if name in ("ExecStart", "LoadCredential"):
        return set()
    texts = value if isinstance(value, list) else [value]
    plain = [("yes" if text else "no") if isinstance(text, bool) else str(text) for text in texts]
    return {" ".join(plain)} if name == "RestrictAddressFamilies" else set(plain)


def lines(unit: str, name: str) -> set[str]:
    return set(re.findall(rf"^{name}=(.*)$", unit, re.MULTILINE))
