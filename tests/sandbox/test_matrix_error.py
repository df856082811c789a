"""The error that a Matrix API answers with."""

from lotus_guard.sandbox.matrix_error import MatrixError


def test_an_error_is_its_own_answer_and_each_has_a_body_of_its_own() -> None:
    first, second = (MatrixError(429, "M_LIMIT_EXCEEDED", "Too Many Requests") for _ in range(2))
    first.body["retry_after_ms"] = 5
    assert (first.status, str(first)) == (429, "Too Many Requests")
    assert second.body == {"errcode": "M_LIMIT_EXCEEDED", "error": "Too Many Requests"}
