"""The commands of `lotus-guard`, one module each; `lotus_guard.cli` puts them together."""
