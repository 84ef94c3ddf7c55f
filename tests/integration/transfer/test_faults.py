# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that a server, a line or a name can do wrong: refused, nothing harmed, and the next run completes."""

from __future__ import annotations

import dataclasses
import random
import ssl
import typing as t

import pytest

from .conftest import HURRIED, Site

OCTETS = random.Random(7).randbytes(400_000)
OTHERS = random.Random(8).randbytes(len(OCTETS))


@pytest.fixture
def server(misbehaving: t.Any) -> t.Iterator[t.Any]:
    with misbehaving.Misbehaving(OCTETS) as found:
        yield found


@pytest.fixture
def tls(misbehaving: t.Any, pki: t.Any) -> t.Iterator[t.Any]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.tls / "server.pem", pki.tls / "server.key")
    with misbehaving.Misbehaving(OCTETS, context=context) as found:
        yield found


#: name -> what is done to the server, and the code of the refusal
FAULTS: dict[str, tuple[t.Callable[[t.Any, t.Any], t.Any], str]] = {
    "one octet now and then": (lambda bad, server: bad.drip, "timeout"),
    "no end": (lambda bad, server: bad.endless, "size_mismatch"),
    "a stated length that is too short": (lambda bad, server: bad.page(200, body=OCTETS[:-1]), "size_mismatch"),
    "a stated length that is too long": (lambda bad, server: bad.page(200, body=OCTETS + b"x"), "size_mismatch"),
    "fewer octets than stated": (lambda bad, server: short(1000), "unreachable"),
    "an end too early, without a stated length": (lambda bad, server: unstated(OCTETS[:-1]), "size_mismatch"),
    "an octet too many, without a stated length": (lambda bad, server: unstated(OCTETS + b"x"), "size_mismatch"),
    "a broken chunk": (lambda bad, server: bad.chunked_cut, "unreachable"),
    "other octets": (lambda bad, server: bad.page(200, body=OTHERS), "checksum_mismatch"),
    "an error page": (lambda bad, server: bad.page(200, body=b"<html>Sorry</html>"), "size_mismatch"),
    "no such file": (lambda bad, server: bad.page(404), "not_found"),
    "no access": (lambda bad, server: bad.page(403), "access_denied"),
    "no service": (lambda bad, server: bad.page(503), "http_status"),
    "a part that nobody asked for": (lambda bad, server: bad.page(206, body=OCTETS), "http_status"),
    "no HTTP": (lambda bad, server: bad.no_http, "unreachable"),
    "no answer": (lambda bad, server: bad.silent, "unreachable"),
    "a redirect to a file": (lambda bad, server: to(bad, "file:///etc/passwd"), "redirect_refused"),
    "a redirect to another scheme": (lambda bad, server: to(bad, "ftp://127.0.0.1/x"), "redirect_refused"),
    "a redirect to itself": (lambda bad, server: to(bad, server.uri()), "redirect_refused"),
    "a redirect to nowhere": (lambda bad, server: bad.page(302), "http_status"),
}


def to(bad: t.Any, location: str) -> t.Any:
    return bad.page(302, {"Location": location})


def short(missing: int) -> t.Callable[[t.Any], None]:
    def fault(handler: t.Any) -> None:
        handler.close_connection = True
        handler.answer(200, OCTETS[:-missing], {"Content-Length": str(len(OCTETS))})

    return fault


def unstated(body: bytes) -> t.Callable[[t.Any], None]:
    def fault(handler: t.Any) -> None:
        handler.close_connection = True
        handler.answer(200, body, {"Content-Length": None})

    return fault


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_refused_and_the_next_run_completes(
    misbehaving: t.Any, server: t.Any, site: Site, name: str
) -> None:
    fault, code = FAULTS[name]
    site.publish(OCTETS, server.uri())
    server.fault = fault(misbehaving, server)
    hurried = dataclasses.replace(HURRIED, timeout=0.7) if code == "timeout" else HURRIED
    assert site.refused(hurried)["code"] == code
    server.fault = None
    site.completed(OCTETS)


@pytest.mark.parametrize("name", ["the whole", "another version", "a wrong range"])
def test_half_an_image_goes_on_only_as_the_same_file(misbehaving: t.Any, server: t.Any, site: Site, name: str) -> None:
    site.publish(OCTETS, server.uri())
    server.cut = lambda: 150_000
    assert site.refused()["code"] == "unreachable"
    server.cut = None
    if name == "the whole":
        server.ranges = False
    elif name == "another version":
        server.etag = '"two"'
    else:
        server.fault = lambda handler: (
            handler.answer(206, OCTETS[1:], {"Content-Range": f"bytes 1-{len(OCTETS) - 1}/{len(OCTETS)}"})
            if handler.headers.get("Range")
            else handler.serve()
        )
    entry = site.completed(OCTETS)
    assert (entry["resumed_from"], entry["octets"]) == (0, len(OCTETS))


def test_half_an_image_is_not_fetched_again(server: t.Any, site: Site) -> None:
    site.publish(OCTETS, server.uri())
    server.cut = lambda: 150_000
    site.refused()
    server.cut = None
    entry = site.completed(OCTETS)
    assert (entry["resumed_from"], entry["octets"]) == (150_000, len(OCTETS) - 150_000)
    assert entry["seconds"] > 0
    assert entry["source"] == server.uri()


def test_a_run_for_one_image_keeps_the_parts_of_others_and_the_next_throws_away_what_is_not_wanted(
    server: t.Any, site: Site
) -> None:
    site.publish(OCTETS, server.uri())
    server.cut = lambda: 150_000
    site.refused()
    server.cut = None
    downloading = site.state / "cache" / "downloading"
    assert len([path for path in downloading.iterdir() if path.name != "catalogue.json"]) == 2
    server.octets = OTHERS
    server.etag = '"two"'
    site.publish(OTHERS, server.uri())
    site.completed(OTHERS)


def test_a_redirect_to_another_host_must_not_lead_inside(misbehaving: t.Any, server: t.Any, site: Site) -> None:
    """Only the host that the administrator named may be a private one."""
    mirror = {"match": "https://images.example.org/", "replace": f"http://localhost:{server.port}/"}
    site.options = {"mirrors": [mirror], "proxy": f"http://127.0.0.1:{misbehaving.unreachable_port()}",
                    "no_proxy": ["localhost", "127.0.0.1"]}  # fmt: skip
    site.publish(OCTETS, "https://images.example.org/image")
    server.fault = to(misbehaving, f"http://127.0.0.1:{server.port}/moved")
    failure = site.refused()
    assert [item["code"] for item in failure["context"]["failures"]] == ["address_refused", "unreachable"]
    server.fault = None
    assert site.completed(OCTETS)["source"] == f"http://localhost:{server.port}/image"


def test_a_redirect_to_another_host_is_followed_where_it_is_allowed(
    misbehaving: t.Any, server: t.Any, site: Site
) -> None:
    site.publish(OCTETS, server.uri())
    server.fault = lambda handler: (
        handler.serve()
        if handler.headers["Host"].startswith("localhost")
        else handler.answer(302, b"", {"Location": f"http://localhost:{server.port}/there"})
    )
    assert site.completed(OCTETS)["source"] == server.uri()
    assert server.asked("Host") == [f"127.0.0.1:{server.port}", f"localhost:{server.port}"]


def test_a_redirect_to_plain_http_is_refused(misbehaving: t.Any, server: t.Any, tls: t.Any, site: Site) -> None:
    site.options["ca_path"] = str(site.pki.tls / "ca.pem")
    site.publish(OCTETS, tls.uri(host="localhost"))
    tls.fault = to(misbehaving, server.uri())
    assert site.refused()["code"] == "redirect_refused"
    assert server.requests == []
    tls.fault = None
    site.completed(OCTETS)


def test_a_server_with_an_unknown_ca_is_refused(tls: t.Any, site: Site) -> None:
    site.publish(OCTETS, tls.uri(host="localhost"))
    assert site.refused()["code"] == "tls_failed"
    assert tls.requests == []
    site.subscribe(ca_path=str(site.pki.tls / "ca.pem"))
    site.completed(OCTETS)


def test_a_name_that_does_not_resolve(server: t.Any, site: Site) -> None:
    site.publish(OCTETS, "http://images.invalid/image")
    failure = site.refused()
    assert failure["code"] == "unreachable"
    assert "images.invalid" in failure["detail"]
    site.publish(OCTETS, server.uri())
    site.completed(OCTETS)


def test_a_server_that_is_down(misbehaving: t.Any, server: t.Any, site: Site) -> None:
    site.publish(OCTETS, f"http://127.0.0.1:{misbehaving.unreachable_port()}/image")
    assert site.refused()["code"] == "unreachable"
    site.publish(OCTETS, server.uri())
    site.completed(OCTETS)
