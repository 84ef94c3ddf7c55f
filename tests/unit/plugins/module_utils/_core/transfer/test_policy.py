# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which addresses may be asked for, and which may be connected to."""

from __future__ import annotations

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TransferError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.addresses import restriction
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.policy import (
    Policy,
    check_uri,
    host_of,
    shown,
)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("169.254.169.254", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("192.168.0.1", "private"),
        ("100.64.0.1", "private"),
        ("192.0.2.1", "private"),
        ("fd00::1", "private"),
        ("fec0::1", "private"),
        ("2001:db8::1", "private"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:10.0.0.1", "private"),
        ("::127.0.0.1", "reserved"),
        ("64:ff9b::7f00:1", "loopback"),
        ("64:ff9b::a00:1", "private"),
        ("2002:7f00:1::1", "loopback"),
        ("2002:a00:1::1", "private"),
    ],
)
def test_an_address_that_is_not_public_is_named(address: str, expected: str) -> None:
    assert restriction(address) == expected


@pytest.mark.parametrize("address", ["8.8.8.8", "137.138.1.1", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_a_public_address_is_not_restricted(address: str) -> None:
    assert restriction(address) is None


def test_a_private_address_is_refused_for_a_host_nobody_vouched_for() -> None:
    with pytest.raises(TransferError) as caught:
        Policy(trusted_hosts=frozenset({"images.example.org"})).check_address("mirror.example.org", "10.0.0.1")
    assert caught.value.code == "address_refused"
    assert "mirror.example.org" in caught.value.detail
    assert "10.0.0.1" in caught.value.detail


def test_a_trusted_host_may_have_any_address() -> None:
    Policy().trusting("https://Images.Example.org.:8443/list").check_address("images.example.org", "10.0.0.1")


def test_allow_private_allows_every_host() -> None:
    Policy(allow_private=True).check_address("mirror.example.org", "10.0.0.1")


def test_trusting_adds_hosts_and_keeps_the_rest() -> None:
    policy = Policy(trusted_hosts=frozenset({"a.example"}), ca_path="/ca", total_timeout=5).trusting(
        "https://b.example/x", "file:///list", "https://[::1]:8080/"
    )
    assert policy.trusted_hosts == {"a.example", "b.example", "::1"}
    assert (policy.ca_path, policy.total_timeout) == ("/ca", 5)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "list.smime",
        "/etc/passwd",
        "ftp://example.org/x",
        "gopher://example.org/x",
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "javascript:alert(1)",
        "https://",
        "https:///path",
        "https://user@example.org/",
        "https://user:secret@example.org/",
        "http://good.example\\@evil.example/",
        "https://example.org:99999/",
        "https://example.org:0/",
        "https://example.org:x/",
        "https://[::1/",
        "https://example.org/a b",
        "https://example.org/a\r\nHost: b",
        "https://ex\u00e4mple.org/",
        " https://example.org/",
    ],
)
def test_an_address_of_another_kind_is_refused(uri: str) -> None:
    with pytest.raises(TransferError) as caught:
        check_uri(uri)
    assert caught.value.code == "uri_unsupported"
    assert "secret" not in str(caught.value.as_dict())


@pytest.mark.parametrize("uri", ["file://server/share", "file:relative", "file:///", "file://localhost/a"])
def test_a_file_address_names_a_local_path(uri: str) -> None:
    if uri in ("file:///", "file://localhost/a"):
        assert check_uri(uri, allow_file=True) == "file"
        return
    with pytest.raises(TransferError) as caught:
        check_uri(uri, allow_file=True)
    assert caught.value.code == "uri_unsupported"


def test_what_is_shown_holds_no_secret() -> None:
    uri = "https://user:secret@example.org:8443/path/x.raw?token=secret#secret"
    assert shown(uri) == "https://example.org:8443/path/x.raw?..."


def test_what_is_shown_cannot_forge_a_log_line() -> None:
    assert "\n" not in shown("https://example.org/a\x0b\u2028b\x1b[31m")
    assert "\x1b" not in shown("https://example.org/a\x1b[31m")


@pytest.mark.parametrize(
    ("uri", "host"),
    [("https://A.Example.:1/x", "a.example"), ("https://[::1]/", "::1"), ("file:///x", ""), ("https://[", "")],
)
def test_host_of_gives_the_comparable_spelling(uri: str, host: str) -> None:
    assert host_of(uri) == host
