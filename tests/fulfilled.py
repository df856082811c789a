"""What a class lacks of a protocol. mypy knows where one is handed to the other; a test says so."""

import inspect
from collections.abc import Coroutine, Iterator
from typing import Any, get_origin

from attrs import fields, has


def lacking(made: type, protocol: type) -> list[str]:
    """What the class lacks: members, and what does not take what the protocol's takes."""
    return list(_lacking(made, protocol))


def _lacking(made: type, protocol: type) -> Iterator[str]:
    held = {field.name for field in fields(made)} if has(made) else set()
    for name, member in vars(protocol).items():
        if name.startswith("_"):
            continue
        own = getattr(made, name, None)
        if isinstance(member, property):
            if own is None and name not in held:
                yield f"{name}: not there"
        elif inspect.isfunction(member):
            if not inspect.isfunction(own):
                yield f"{name}: not there"
            elif _is_awaited(own) != _is_awaited(member):
                yield f"{name}: awaited by one of them alone"
            elif _takes(own) != _takes(member):
                yield f"{name}: takes {_takes(own)}, and not {_takes(member)}"


def _is_awaited(function: Any) -> bool:
    """Whether it is a coroutine, or says that it hands one on."""
    returns = inspect.signature(function).return_annotation
    return inspect.iscoroutinefunction(function) or get_origin(returns) is Coroutine


def _takes(function: Any) -> list[tuple[str, Any, bool]]:
    """Name, kind and whether it may be left out, of each parameter; `_x` is an `x` left unused."""
    return [
        (name.lstrip("_"), each.kind, each.default is not each.empty)
        for name, each in inspect.signature(function).parameters.items()
    ]
