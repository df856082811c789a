"""The error that a Matrix API answers with."""

from typing import Any


class MatrixError(Exception):
    """Raised in a route of the sandbox; its status and body are the answer."""

    def __init__(self, status: int, errcode: str, error: str) -> None:
        super().__init__(error)
        self.status = status
        self.body: dict[str, Any] = {"errcode": errcode, "error": error}
