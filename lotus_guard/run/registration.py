"""The registration of an application service, as far as we need it: a homeserver's token."""

import yaml

from lotus_guard.enforce.credentials import Unusable, fault_line, read_text

_WANTED = "an application service's registration with an `hs_token`"


def read_hs_token(name: str, path: str) -> str:
    """Read the `hs_token` of the registration that a variable names; raises Unusable."""
    try:
        fields = yaml.safe_load(read_text(name, path))
    except yaml.YAMLError:  # its message quotes the file, which holds secrets
        raise Unusable(fault_line(name, "not YAML", _WANTED)) from None
    token = fields.get("hs_token") if isinstance(fields, dict) else None
    if not isinstance(token, str) or not token.strip():
        raise Unusable(fault_line(name, "no hs_token in it", _WANTED))
    return token.strip()
