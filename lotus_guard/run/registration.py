"""The registration of an application service, as far as we need it: a homeserver's token."""

import yaml

from lotus_guard.enforce.credentials import Unusable, fault_line, read_text

_WANTED = "an application service's registration with an `hs_token`"
_NOT_YAML = (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError)
"""What reading raises: for no YAML, a date or a tag that nothing can be, and deep nesting."""


def read_hs_token(name: str, path: str) -> str:
    """Read the `hs_token` of the registration that a variable names; raises Unusable."""
    text = read_text(name, path)
    try:
        fields = yaml.safe_load(text)
    except _NOT_YAML:  # the message quotes the file, which holds secrets
        raise Unusable(fault_line(name, "not YAML", _WANTED)) from None
    token = fields.get("hs_token") if isinstance(fields, dict) else None
    if token is not None and not isinstance(token, str):
        raise Unusable(fault_line(name, "its hs_token is no text (quote it)", _WANTED))
    if token is None or not token.strip():
        raise Unusable(fault_line(name, "no hs_token in it", _WANTED))
    return token.strip()
