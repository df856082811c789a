"""How a dependency of the guard does, as its parts describe it (`observe.health` lists them)."""

from typing import Any


def described(name: str, state: str, age: float | None, detail: str) -> dict[str, Any]:
    """Write one dependency; `state` is ok, trouble, unknown or off, `age` in seconds."""
    return {"name": str(name), "state": state, "age": age, "detail": detail}
