"""How a dependency of the guard is doing, as its part describes it; `observe.health` lists all."""

from typing import Any


def described(name: str, state: str, age: float | None, detail: str) -> dict[str, Any]:
    """Write one dependency; `state` is ok, trouble, unknown or off, `age` in seconds."""
    return {"name": str(name), "state": state, "age": age, "detail": detail}
