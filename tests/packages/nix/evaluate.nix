# Evaluates deploy/nixos/module.nix with as much of nixpkgs' lib and pkgs as it uses.
{ settings ? { }, secretFiles ? { }, module ? ../../../deploy/nixos/module.nix }:
let
  type = name: { inherit name; };
  lib = {
    mkEnableOption = description: { inherit description; default = false; };
    mkOption = option: option;
    mkIf = condition: content: if condition then content else { };
    mkForce = content: content;
    literalExpression = text: text;
    filterAttrs = keep: set: builtins.listToAttrs (
      builtins.filter (pair: keep pair.name pair.value) (
        map (name: { inherit name; value = set.${name}; }) (builtins.attrNames set)
      )
    );
    mapAttrs = builtins.mapAttrs;
    concatStrings = builtins.concatStringsSep "";
    mapAttrsToList = make: set: map (name: make name set.${name}) (builtins.attrNames set);
    licenses = { asl20 = "Apache-2.0"; mit = "MIT"; };
    types = {
      package = type "package";
      port = type "port";
      str = type "str";
      bool = type "bool";
      path = type "path";
      attrsOf = inner: type "attrsOf ${inner.name}";
      nullOr = inner: type "nullOr ${inner.name}";
    };
  };
  pkgs.python3 = {
    withPackages = choose: "/nix/store/python-env";
    pkgs.callPackage = path: arguments: "/nix/store/lotus-guard";
  };
  defaults = builtins.mapAttrs (name: option: option.default) made.options.services.lotus-guard;
  config.services.lotus-guard = defaults // { enable = true; inherit settings secretFiles; };
  made = import module { inherit config lib pkgs; };
  # The package, with a stand-in for each package that it asks for.
  package = import ../../../deploy/nixos/package.nix;
  asked = builtins.functionArgs package;
  stub = name: { pname = name; optional-dependencies.tls = [ ]; };
in
{
  inherit (made) config;
  package = package (
    builtins.mapAttrs (name: _: stub name) asked
    // { inherit lib; buildPythonPackage = it: it // { src = toString it.src; }; }
  );
}
