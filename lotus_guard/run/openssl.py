"""Leaves OpenSSL out of a guard that speaks to nobody over TLS.

Twisted and PyJWT load pyOpenSSL and cryptography wherever these are installed: 12 of the 72 MiB
that a guard took, in each worker. A guard beside its neighbours asks them by http:// and redis://,
and the proxy in front of it has the certificate.
"""

import re
import sys
from collections.abc import Mapping, MutableMapping
from types import ModuleType
from typing import Any

_OURS = ("LOTUS_GUARD_", "LIVEKIT_")
_PLAIN = re.compile(r"(http|ws)://|redis:|(tcp6?|unix|systemd):")
"""How an address or an endpoint without TLS begins; what else has a colon in it may want TLS."""


def wants_tls(environment: Mapping[str, str]) -> bool:
    """Whether any variable of ours may lead to TLS; rather once too often than once too seldom."""
    ours = {name: text for name, text in environment.items() if name.startswith(_OURS)}
    if ours.get("LOTUS_GUARD_LIVEKIT_URL"):
        ours.pop("LIVEKIT_URL", "")  # where clients go, and the guard does not
    return any(":" in text and not _PLAIN.match(text) for text in ours.values())


def leave_out(modules: MutableMapping[str, Any] = sys.modules) -> None:
    """Have Twisted and PyJWT find no OpenSSL from now on; they do without it.

    Without effect where it is loaded already.
    """
    if "OpenSSL" in modules or "cryptography" in modules:
        return
    modules["OpenSSL"] = modules["cryptography"] = None  # which the import system takes for missing
    modules["twisted.internet.ssl"] = _no_ssl()


def _no_ssl() -> ModuleType:
    """Make what txredisapi finds for `twisted.internet.ssl`; its hints name one class of it."""
    module = ModuleType("twisted.internet.ssl", "TLS is not loaded: no setting needs it.")
    module.ClientContextFactory = type("ClientContextFactory", (), {})  # type: ignore[attr-defined]
    return module
