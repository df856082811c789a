"""The registration of an application service, as far as we need it: two tokens."""

from collections.abc import Mapping
from typing import Any

from lotus_guard.core.objects import as_object, part_of
from lotus_guard.enforce.credentials import Unusable, fault_line, read_text


def read_hs_token(name: str, path: str) -> str:
    """Read the `hs_token` of the registration that a variable names; raises Unusable."""
    return _token_in(_fields(name, path, "hs_token"), name, "hs_token")


def read_as_token(name: str, path: str) -> str:
    """Read the `as_token` of a registration of our own; raises Unusable.

    Without users in its namespaces it may read nothing.
    """
    fields = _fields(name, path, "as_token")
    token = _token_in(fields, name, "as_token")
    if not _is_token(token):
        raise Unusable(fault_line(name, "its as_token has characters that no token has", "another"))
    if not _has_users(fields):
        wanted = "users in its namespaces, such as {regex: '@.*:example\\.org', exclusive: false}"
        raise Unusable(fault_line(name, "it names no users", wanted))
    return token


def read_as_token_if_any(name: str, path: str) -> str:
    """Read the `as_token` of another service's registration; empty where it serves for no users.

    It is not ours to find fault with; raises Unusable only where it cannot be read at all.
    """
    fields = _fields(name, path, "hs_token")
    token = fields.get("as_token")
    is_usable = isinstance(token, str) and _is_token(token.strip()) and _has_users(fields)
    return str(token).strip() if is_usable else ""


def _fields(name: str, path: str, wanted: str) -> Mapping[str, Any]:
    import yaml  # most guards have no registration: it takes 0.9 MiB

    text = read_text(name, path)
    # What reading raises: for no YAML, a date or a tag that nothing can be, and deep nesting.
    not_yaml = (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError)
    try:
        return as_object(yaml.safe_load(text)) or {}
    except not_yaml:  # the message quotes the file, which holds secrets
        raise Unusable(fault_line(name, "not YAML", _wanted(wanted))) from None


def _token_in(fields: Mapping[str, Any], name: str, field: str) -> str:
    token = fields.get(field)
    if token is not None and not isinstance(token, str):
        raise Unusable(
            fault_line(name, f"its {field} is not a string (put it in quotes)", _wanted(field))
        )
    if token is None or not token.strip():
        raise Unusable(fault_line(name, f"it has no {field}", _wanted(field)))
    return token.strip()


def _is_token(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def _has_users(fields: Mapping[str, Any]) -> bool:
    users = part_of(fields, "namespaces").get("users")
    return isinstance(users, list) and any(
        isinstance(each, dict) and each.get("regex") for each in users
    )


def _wanted(field: str) -> str:
    return f"an application service's registration with an `{field}`"
