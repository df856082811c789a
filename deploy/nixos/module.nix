# NixOS: services.lotus-guard, in front of services.lk-jwt-service. docs/nixos.md goes through it.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.services.lotus-guard;
  # An environment of its own: twistd finds the guard's plugin among its packages.
  python = pkgs.python3.withPackages (packages: [
    packages.twisted
    cfg.package
  ]);
  unit = "voice-limit-guard";
  files = lib.filterAttrs (_: path: path != null) cfg.secretFiles;
  settings = {
    LOTUS_GUARD_LISTEN = "tcp:${toString cfg.port}";
    LOTUS_GUARD_UPSTREAM = "http://127.0.0.1:${toString cfg.upstreamPort}";
  }
  // cfg.settings;
in
{
  options.services.lotus-guard = {
    enable = lib.mkEnableOption "lotus-guard, call limits and media rules in front of lk-jwt-service";

    package = lib.mkOption {
      type = lib.types.package;
      default = pkgs.python3.pkgs.callPackage ./package.nix { };
      defaultText = lib.literalExpression "pkgs.python3.pkgs.callPackage ./package.nix { }";
      description = "The guard as a Python package.";
    };

    port = lib.mkOption {
      type = lib.types.port;
      default = 8070;
      description = "The public port, which systemd holds; your reverse proxy leads here.";
    };

    upstreamPort = lib.mkOption {
      type = lib.types.port;
      default = 8071;
      description = "Where lk-jwt-service listens behind the guard, on loopback only.";
    };

    settings = lib.mkOption {
      type = lib.types.attrsOf lib.types.str;
      default = { };
      example = {
        LIVEKIT_URL = "wss://livekit.example.org";
        LOTUS_GUARD_SYNAPSE_URL = "http://127.0.0.1:8008";
        LOTUS_GUARD_MODE = "observe";
      };
      description = "The guard's settings (docs/settings.md). They're readable in the Nix store: no secrets.";
    };

    secretFiles = lib.mkOption {
      type = lib.types.attrsOf (lib.types.nullOr lib.types.path);
      default = { };
      example = {
        LIVEKIT_KEY_FILE = "/run/secrets/livekit-keys";
        LOTUS_GUARD_SYNAPSE_TOKEN_FROM_FILE = "/run/secrets/synapse-token";
      };
      description = ''
        Settings that name a file, and the file. systemd reads it as root and hands it over as a
        credential, so only root needs to be able to read it.
      '';
    };

    moveLkJwtService = lib.mkOption {
      type = lib.types.bool;
      default = true;
      description = "Whether services.lk-jwt-service is bound to upstreamPort on loopback.";
    };
  };

  config = lib.mkIf cfg.enable {
    services.lk-jwt-service = lib.mkIf cfg.moveLkJwtService {
      environment.LIVEKIT_JWT_BIND = lib.mkForce "127.0.0.1:${toString cfg.upstreamPort}";
    };

    environment.systemPackages = [ cfg.package ];
    # What `lotus-guard check` needs on the command line, for root, who can read the files.
    environment.etc."lotus-guard/environment" = {
      mode = "0600";
      text = lib.concatStrings (
        lib.mapAttrsToList (name: value: "${name}=\"${toString value}\"\n") (settings // files)
      );
    };

    systemd.sockets.${unit} = {
      description = "lotus-guard's public port";
      wantedBy = [ "sockets.target" ];
      socketConfig = {
        ListenStream = toString cfg.port;
        FileDescriptorName = "public";
        Backlog = 512;
        NoDelay = true;
        TriggerLimitIntervalSec = 0;
      };
    };

    systemd.services.${unit} = {
      description = "lotus-guard: call limits and media rules in front of lk-jwt-service";
      wantedBy = [ "multi-user.target" ];
      requires = [ "${unit}.socket" ];
      wants = [ "network-online.target" ];
      after = [
        "network-online.target"
        "lk-jwt-service.service"
        "${unit}.socket"
      ];
      startLimitIntervalSec = 0;
      environment =
        settings // { PYTHONDONTWRITEBYTECODE = "1"; } // lib.mapAttrs (name: _: "%d/${name}") files;
      serviceConfig = {
        Type = "notify";
        NotifyAccess = "main";
        WatchdogSec = 30;
        TimeoutStartSec = 60;
        LoadCredential = lib.mapAttrsToList (name: path: "${name}:${toString path}") files;
        ExecStart = "${python}/bin/twistd --nodaemon --pidfile= lotus-guard";
        Restart = "always";
        RestartSec = 1;
        TimeoutStopSec = 10;
        KillMode = "mixed";
        DynamicUser = true;
        StateDirectory = "lotus-guard";
        StateDirectoryMode = "0700";
        WorkingDirectory = "/var/lib/lotus-guard";
        UMask = "0077";
        LimitNOFILE = 65536;
        MemoryMax = "1G";
        NoNewPrivileges = true;
        CapabilityBoundingSet = "";
        ProtectSystem = "strict";
        ProtectHome = true;
        ProtectProc = "invisible";
        ProcSubset = "pid";
        PrivateTmp = true;
        PrivateDevices = true;
        PrivateUsers = true;
        ProtectKernelTunables = true;
        ProtectKernelModules = true;
        ProtectKernelLogs = true;
        ProtectControlGroups = true;
        ProtectClock = true;
        ProtectHostname = true;
        RestrictAddressFamilies = [
          "AF_INET"
          "AF_INET6"
          "AF_UNIX"
        ];
        RestrictNamespaces = true;
        RestrictRealtime = true;
        RestrictSUIDSGID = true;
        RemoveIPC = true;
        LockPersonality = true;
        MemoryDenyWriteExecute = true;
        SystemCallArchitectures = "native";
        SystemCallFilter = [
          "@system-service"
          "~@privileged @resources"
        ];
        SystemCallErrorNumber = "EPERM";
      };
    };
  };
}
