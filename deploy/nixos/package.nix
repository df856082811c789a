# lotus-guard as a Python package of nixpkgs: `python3.pkgs.callPackage ./package.nix { }`.
{
  lib,
  buildPythonPackage,
  setuptools,
  attrs,
  click,
  hiredis,
  klein,
  livekit-protocol,
  prometheus-client,
  pyjwt,
  pyyaml,
  rich,
  treq,
  twisted,
  txredisapi,
}:

let
  source = builtins.readFile ../../lotus_guard/version.py;
in
buildPythonPackage {
  pname = "lotus-guard";
  version = builtins.head (builtins.match ".*VERSION: Final = \"([^\"]+)\".*" source);
  pyproject = true;
  src = ../..;

  build-system = [ setuptools ];
  dependencies = [
    attrs
    click
    hiredis
    klein
    livekit-protocol
    prometheus-client
    pyjwt
    pyyaml
    rich
    treq
    twisted
    txredisapi
  ]
  ++ twisted.optional-dependencies.tls;

  # nixpkgs is often ahead of the versions that the guard's tests ran with.
  pythonRelaxDeps = true;
  pythonImportsCheck = [ "lotus_guard.run" ];

  meta = {
    description = "Enforces call limits and media rules of Matrix rooms in front of lk-jwt-service";
    license = lib.licenses.asl20;
    mainProgram = "lotus-guard";
  };
}
