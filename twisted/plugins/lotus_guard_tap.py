"""Makes `twistd lotus-guard` known; twistd finds this file by the directory it is in."""

from twisted.application.service import ServiceMaker

serviceMaker = ServiceMaker(
    "lotus_guard", "lotus_guard.tap", "Guards MatrixRTC calls' limits and sources", "lotus-guard"
)
