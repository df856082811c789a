"""One outside system each, behind the protocols of `lotus_guard.ports`."""
