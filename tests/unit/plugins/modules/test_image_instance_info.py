# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs, of which image, and whether it still may."""

from __future__ import annotations

import json
import typing as t

import pytest

from .hypervisors import BINDING, IMAGE, Node

pytestmark = pytest.mark.needs(BINDING, "qemu-img")

LIST: t.Final = "5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3"


def names(answer: t.Any) -> list[str]:
    return [one["name"] for one in answer["instances"]]


def test_an_instance_is_told_by_its_record(node: Node) -> None:
    made = node.done(ttl_hours=1, author="operator")["instances"][0]
    answer = node.tell()
    (one,) = answer["instances"]
    assert (one["name"], one["uuid"], one["state"], one["source"]) == ("worker", made["uuid"], "running", "record")
    assert (one["image"], one["list"], one["author"], one["until"]) == (IMAGE, LIST, "operator", made["until"])
    assert one["verdict"]["allowed"] is True and one["differences"] == [] and one["ttl_over"] is False
    assert [other["name"] for other in answer["others"]] == ["test"] and answer["problems"] == []
    assert answer["verdicts_written"] is not None


def test_one_instance_is_found_by_what_is_asked(node: Node) -> None:
    node.done(ttl_hours=1)
    node.done(name="idle", started=False)
    signer = node.tell()["instances"][0]["endorser_dn"]
    nobody = "00000000-0000-0000-0000-000000000000"
    for asked, found in (
        ({"images": [IMAGE.upper()]}, ["idle", "worker"]),
        ({"images": [nobody]}, []),
        ({"lists": [LIST]}, ["idle", "worker"]),
        ({"lists": [nobody]}, []),
        ({"endorsers": [signer]}, ["idle", "worker"]),
        ({"endorsers": ["/CN=nobody"]}, []),
        ({"state": "running"}, ["worker"]),
        ({"state": "stopped"}, ["idle"]),
        ({"verdict": "allowed"}, ["idle", "worker"]),
        ({"verdict": "refused"}, []),
        ({"ttl": "over"}, []),
    ):
        assert (asked, names(node.tell(**asked))) == (asked, found)


def test_the_end_of_a_time_is_told(node: Node) -> None:
    node.done(ttl_hours=1)
    (path,) = node.records.iterdir()
    path.write_text(json.dumps({**json.loads(path.read_text()), "until": "2020-01-01T00:00:00Z"}))
    assert names(node.tell(ttl="over")) == ["worker"]


def test_what_may_no_longer_run_is_told_with_its_code(own_node: Node) -> None:
    own_node.done()
    own_node.bench.decide("blacklist")
    (one,) = own_node.tell(verdict="refused")["instances"]
    assert one["verdict"]["code"] == "blacklisted" and one["verdict"]["reason"]


def test_an_instance_of_a_former_version_is_one_of_a_withdrawn_image(own_node: Node) -> None:
    own_node.done()
    bench = own_node.bench
    bench.publish(bench.image(octets=b"image v2" * 131072, format="raw", version="2.0"))
    bench.done("imagelist_subscribe", bench.subscription(refresh="always"))
    bench.cache()
    (one,) = own_node.tell(verdict="refused")["instances"]
    assert one["verdict"]["code"] == "withdrawn" and "2.0" in one["verdict"]["reason"] and one["verdict"]["replaced"]


def test_without_verdicts_instances_are_told_all_the_same(node: Node) -> None:
    node.done()
    answer = node.tell(state_dir=str(node.records))
    assert names(answer) == ["worker"] and answer["instances"][0]["verdict"] is None
    assert [problem["code"] for problem in answer["problems"]] == ["snapshot_missing"]
    assert names(node.tell(state_dir=str(node.records), verdict="refused")) == []


def test_metadata_is_a_claim_and_contradictions_are_told(node: Node) -> None:
    node.done()
    xml = node.domain().XMLDesc(0).replace(f"image>{IMAGE}", "image>0a0b0c0d-0000-4000-8000-000000000000")
    assert "0a0b0c0d" in xml
    node.driver.defineXML(xml)
    (one,) = node.tell()["instances"]
    assert one["image"] == IMAGE and [item["what"] for item in one["differences"]] == ["image"]
    (path,) = node.records.iterdir()
    path.rename(node.records / "elsewhere")
    (one,) = node.tell()["instances"]
    assert one["source"] == "metadata" and one["image"].startswith("0a0b0c0d") and one["disk"] is None
    assert one["verdict"]["code"] == "unknown_image"


def test_a_record_without_domain_or_disk_is_told(node: Node) -> None:
    node.done(started=False)
    node.domain().undefine()
    (node.disks / "worker.qcow2").unlink()
    (one,) = node.tell()["instances"]
    assert one["state"] == "gone" and one["differences"] == [
        {"what": "disk", "record": str(node.disks / "worker.qcow2"), "found": "none"}
    ]


def test_a_hypervisor_or_record_that_cannot_be_read_is_a_problem_and_hides_nothing_else(node: Node) -> None:
    node.done()
    (node.records / "0a0b0c0d-0000-4000-8000-000000000000.json").write_text("{}")
    answer = node.tell(connections=["test:///default", "qemu+unix:///system?socket=/no/such"])
    assert names(answer) == ["worker"]
    assert [problem["code"] for problem in answer["problems"]] == ["record_malformed", "hypervisor_unreachable"]
    assert names(node.tell(connections=[])) == []
