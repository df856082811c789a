"""TLS towards a test's homeserver, whose certificate nobody has signed."""

from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer


@implementer(IPolicyForHTTPS)
class AnyCertificate:
    """Accepts any certificate, as LIVEKIT_INSECURE_SKIP_VERIFY_TLS asks for."""

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        """Make TLS options that verify nothing."""
        return _UnverifiedTls(hostname)


@implementer(IOpenSSLClientConnectionCreator)
class _UnverifiedTls:
    """Makes TLS connections that verify nothing."""

    def __init__(self, hostname: bytes) -> None:
        self._hostname = hostname

    def clientConnectionForTLS(self, _protocol: Any) -> SSL.Connection:
        """Make one."""
        connection = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
        connection.set_tlsext_host_name(self._hostname)
        return connection
