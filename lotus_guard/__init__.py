"""lotus_guard: a fail-open guard in front of the MatrixRTC authorization service."""
