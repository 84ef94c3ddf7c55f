# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading somebody's list: verified, or said not to be."""

from __future__ import annotations

import typing as t
from datetime import timedelta

from ansible_collections.hepix.vmimages.plugins.module_utils._core.times import to_text

IMAGE = "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"
LIST = "5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3"


def reading(bench: t.Any, **more: t.Any) -> dict[str, t.Any]:
    source = {} if "uri" in more else {"src": str(bench.message)}
    return {**source, **bench.trust, **more}


def test_a_file_is_verified_and_told(bench: t.Any) -> None:
    bench.publish(bench.image(format="raw", metadata={"ad:mpuri": "https://example.org/worker"}))
    result = bench.done("imagelist_info", reading(bench))
    assert result["verified"] is True and result["changed"] is False
    assert result["list"]["identifier"] == LIST
    assert result["signer"]["dn"] == bench.pki.endorser.dn
    assert len(result["crls"]) == 2
    image = result["images"][0]
    assert (image["identifier"], image["title"], image["format"]) == (IMAGE, "worker", "raw")
    assert image["raw"]["ad:mpuri"] == "https://example.org/worker"
    assert result["good_until"] <= result["list"]["expires"]


def test_an_address_is_fetched(bench: t.Any) -> None:
    bench.publish()
    result = bench.done("imagelist_info", reading(bench, uri=bench.uri, ca_path=str(bench.pki.tls / "ca.pem")))
    assert result["list"]["identifier"] == LIST


def test_an_unknown_web_server_is_refused(bench: t.Any) -> None:
    bench.publish()
    assert bench.run("imagelist_info", reading(bench, uri=bench.uri))["code"] == "tls_failed"


def test_what_is_not_verified_is_said_not_to_be(bench: t.Any) -> None:
    bench.publish()
    result = bench.done("imagelist_info", reading(bench, verify=False, anchors="/nowhere"))
    assert result["verified"] is False
    assert (result["signer"], result["crls"], result["good_until"]) == (None, [], None)
    assert result["images"][0]["identifier"] == IMAGE


def test_a_tampered_list_is_refused(bench: t.Any) -> None:
    bench.publish()
    bench.message.write_bytes(bench.message.read_bytes().replace(b"Worker nodes", b"Wonder nodes"))
    assert bench.run("imagelist_info", reading(bench))["code"] == "digest_mismatch"


def test_the_signer_may_be_demanded(bench: t.Any) -> None:
    bench.publish()
    endorser = {"dn": bench.pki.endorser.dn, "ca": bench.pki.endorser.ca}
    assert bench.done("imagelist_info", reading(bench, endorsers=[endorser]))["verified"] is True
    other = {**endorser, "dn": "/DC=org/DC=example-grid/OU=users/CN=Somebody Else"}
    assert bench.run("imagelist_info", reading(bench, endorsers=[other]))["code"] == "not_authorised"


def test_who_signed_cannot_be_demanded_of_an_unverified_list(bench: t.Any) -> None:
    bench.publish()
    result = bench.run("imagelist_info", reading(bench, verify=False, endorsers=[]))
    assert result["code"] == "option_invalid"


def test_the_identifier_may_be_demanded(bench: t.Any) -> None:
    bench.publish()
    for verify in (True, False):
        assert bench.done("imagelist_info", reading(bench, identifier=LIST.upper(), verify=verify))
        assert bench.run("imagelist_info", reading(bench, identifier=IMAGE, verify=verify))["code"] == (
            "identifier_mismatch"
        )


def test_a_missing_file_is_one_sentence(bench: t.Any) -> None:
    result = bench.run("imagelist_info", {"src": "/nowhere/images.list", **bench.trust})
    assert result["code"] == "not_found"
    assert "/nowhere/images.list" in result["msg"]


def test_one_source_is_needed(bench: t.Any) -> None:
    assert bench.run("imagelist_info", bench.trust).failed
    assert bench.run("imagelist_info", {"src": "/x", "uri": "https://x/", **bench.trust}).failed


def test_an_acceptance_tells_what_proves_it(bench: t.Any) -> None:
    bench.publish()
    result = bench.done("imagelist_info", reading(bench))
    assert [one["dn"] for one in result["path"]] == [bench.pki.endorser.dn, bench.pki.sub.name, bench.pki.root.name]
    assert result["path"][0]["fingerprint"] == result["signer"]["fingerprint"]
    assert [(crl["issuer"], crl["number"]) for crl in result["crls"]] == [
        (bench.pki.sub.name, 1),
        (bench.pki.root.name, 1),
    ]
    assert all(3600 <= crl["age"] < 7200 for crl in result["crls"])
    assert (result["good_until"], result["good_until_reason"]) == (result["list"]["expires"], "the list expires")
    outcomes = {step["number"]: step["outcome"] for step in result["steps"]}
    assert sorted(outcomes) == list(range(1, 17))
    assert {number for number, outcome in outcomes.items() if outcome != "passed"} == {13, 14, 16}


def test_what_ends_a_proof_first_is_told(bench: t.Any) -> None:
    bench.publish()
    bench.pki.write_crls(1)
    result = bench.done("imagelist_info", reading(bench))
    assert result["good_until"] == to_text(bench.pki.now + timedelta(days=1))
    assert result["good_until_reason"].startswith("the CRL of ")
    short = bench.pki.issue("Erin Endorser", 0.5, directory="short")
    bench.publish(
        certificate=str(short.certificate_path), private_key=str(short.key_path), title="Again", lifetime="2d"
    )
    result = bench.done("imagelist_info", reading(bench))
    assert result["good_until"] == to_text(bench.pki.now + timedelta(days=0.5))
    assert result["good_until_reason"] == f"the certificate of {short.dn} expires"


def test_a_refusal_tells_its_step(bench: t.Any) -> None:
    bench.publish()
    bench.pki.revoke(bench.pki.endorser.certificate)
    result = bench.run("imagelist_info", reading(bench))
    assert result.failed and result["code"] == "revoked"
    assert (result["step"]["number"], result["step"]["title"]) == (8, "revocation")
    assert result["step"]["detail"] in result["msg"] and result["remedy"] in result["msg"]
    outcomes = [step["outcome"] for step in result["steps"]]
    assert outcomes == ["passed"] * 7 + ["refused"] + ["not reached"] * 8


def test_too_much_is_refused_at_the_first_step(bench: t.Any) -> None:
    bench.message.write_bytes(b"x" * (8 * 1024 * 1024 + 1))
    for source in ({}, {"uri": bench.uri, "ca_path": str(bench.pki.tls / "ca.pem")}):
        result = bench.run("imagelist_info", reading(bench, **source))
        assert (result["code"], result["step"]["number"]) == ("too_large", 1)


def test_without_a_message_there_is_no_step(bench: t.Any) -> None:
    result = bench.run("imagelist_info", {"src": "/nowhere/images.list", **bench.trust})
    assert (result["step"], result["steps"]) == (None, [])


def test_an_audit_is_no_verification(bench: t.Any) -> None:
    bench.publish()
    later = to_text(bench.pki.now + timedelta(days=3))
    result = bench.done("imagelist_info", reading(bench, as_of=later))
    assert (result["verified"], result["audit"], result["as_of"]) == (False, True, later)
    after = to_text(bench.pki.now + timedelta(days=29))
    assert bench.run("imagelist_info", reading(bench, as_of=after))["code"] == "list_expired"
    before = to_text(bench.pki.now - timedelta(days=3))
    assert bench.run("imagelist_info", reading(bench, as_of=before))["step"]["number"] == 7


def test_a_time_is_written_in_utc(bench: t.Any) -> None:
    bench.publish()
    assert bench.run("imagelist_info", reading(bench, as_of="yesterday"))["code"] == "option_invalid"
    assert bench.run("imagelist_info", reading(bench, as_of="2026-01-01", verify=False))["code"] == "option_invalid"


def test_a_list_is_described_as_what_publishes_it_again(bench: t.Any) -> None:
    """The round trip: read, published anew from the description alone, read again; nothing but the version differs."""
    extra = {"ad:mpuri": "https://example.org/worker", "sl:checksum:sha256": "0" * 64}
    image = bench.image(format="raw", osversion="9", expires="2030-01-01T00:00:00Z", metadata=extra)
    bench.done("imagelist_publish", {**bench.publishing(image), "endorser": {"metadata": {"ad:sso": "erin"}}})
    first = bench.done("imagelist_info", reading(bench))
    described = first["publication"]
    assert described["identifier"] == LIST
    bench.message.unlink()
    own = {"history_dir": f"{bench.history_dir} of another"}
    bench.done("imagelist_publish", {**bench.publishing(), **described, **own})
    again = bench.done("imagelist_info", reading(bench))
    assert again["publication"] == described
    assert [image["raw"] for image in again["images"]] == [image["raw"] for image in first["images"]]


def test_a_copy_gets_uuids_of_its_own(bench: t.Any) -> None:
    bench.publish()
    new = "9d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3"
    described = bench.done("imagelist_info", reading(bench, new_identifier=new.upper()))["publication"]
    assert described["identifier"] == new
    assert described["images"][0]["identifier"] not in (IMAGE, new)
    assert bench.done("imagelist_info", reading(bench, new_identifier=new))["publication"] == described
    assert bench.run("imagelist_info", reading(bench, new_identifier="new"))["code"] == "option_invalid"


def test_a_list_that_is_not_signed_is_read_when_nothing_is_to_be_proved(bench: t.Any) -> None:
    bench.publish()
    octets = bench.message.read_bytes()
    plain = octets[octets.index(b"{") : octets.rindex(b"}") + 1]
    bench.message.write_bytes(plain)
    assert bench.done("imagelist_info", reading(bench, verify=False))["list"]["identifier"] == LIST
    assert bench.run("imagelist_info", reading(bench))["code"] == "mime_malformed"
