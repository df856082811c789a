"""Makes `twistd lotus-guard` known; twistd finds this file by the directory it is in."""

from twisted.application.service import ServiceMaker

serviceMaker = ServiceMaker(
    "lotus_guard",
    "lotus_guard.tap",
    "Enforces per-room limits and media rules for MatrixRTC calls",
    "lotus-guard",
)
