# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which network addresses a host named by a stranger may have: public ones only."""

from __future__ import annotations

import ipaddress
import typing as t

_IPAddress = t.Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

# RFC 6052: the well-known prefix under which NAT64 embeds an IPv4 address.
_NAT64: t.Final = ipaddress.IPv6Network("64:ff9b::/96")


def restriction(address: str) -> t.Optional[str]:
    """Return why `address` (numeric, as the resolver gives it) is not public, in one word or two; None if it is.

    An IPv6 address that carries an IPv4 address (mapped, NAT64, 6to4) is judged by what it carries as well.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return _restriction(ip.ipv4_mapped)
        if ip in _NAT64:
            return _restriction(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
        if ip.sixtofour is not None:
            return _restriction(ip.sixtofour) or _restriction(ip)
    return _restriction(ip)


def _restriction(ip: _IPAddress) -> t.Optional[str]:
    if ip.is_unspecified:
        return "unspecified"
    if ip.is_loopback:
        return "loopback"
    if ip.is_link_local:
        return "link-local"
    if ip.is_multicast:
        return "multicast"
    if isinstance(ip, ipaddress.IPv6Address) and ip.is_site_local:
        return "private"
    if ip.is_reserved:
        return "reserved"
    if ip.is_private or not ip.is_global:
        return "private"
    return None
