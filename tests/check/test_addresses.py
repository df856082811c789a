"""The addresses at which others can reach this machine."""

import ipaddress

from lotus_guard.check.addresses import own_addresses


def test_only_addresses_that_others_can_reach_are_named() -> None:
    found = own_addresses()
    assert len(set(found)) == len(found) <= 2
    for address in found:
        assert not ipaddress.ip_address(address).is_loopback
