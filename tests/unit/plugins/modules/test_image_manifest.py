# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module: the packages are listed, in a document that an endorser can publish with the image."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest


@pytest.fixture
def system(tmp_path: Path) -> Path:
    tree = tmp_path / "system"
    (tree / "var/lib/dpkg").mkdir(parents=True)
    (tree / "etc").mkdir()
    (tree / "etc/os-release").write_text('ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian 12"\n')
    (tree / "var/lib/dpkg/status").write_text(
        "Package: libstdc++6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:12.2.0-14\n"
        "Maintainer: GCC <gcc@example.org>\n"
    )
    return tree


def test_the_document_is_written_once(bench: t.Any, system: Path, tmp_path: Path) -> None:
    dest = tmp_path / "worker.spdx.json"
    options = {"root": str(system), "dest": str(dest), "name": "worker 1"}
    assert bench.run("image_manifest", options, check=True)["changed"] is True
    assert not dest.exists()
    first = bench.done("image_manifest", options)
    assert first["changed"] is True and first["packages"][0]["version"] == "12.2.0"
    octets = dest.read_bytes()
    again = bench.done("image_manifest", options)
    assert again["changed"] is False and dest.read_bytes() == octets
    assert again["sha512"] == first["sha512"] and again["namespace"] == first["namespace"]
    document = json.loads(octets)
    (system_entry, package) = document["packages"]
    assert (document["spdxVersion"], document["dataLicense"], document["name"]) == ("SPDX-2.3", "CC0-1.0", "worker 1")
    assert package["versionInfo"] == "1:12.2.0-14" and package["licenseDeclared"] == "NOASSERTION"
    assert package["externalRefs"][0]["referenceLocator"] == ("pkg:deb/debian/libstdc%2B%2B6@1%3A12.2.0-14?arch=amd64")
    described = {(item["relationshipType"], item["relatedSpdxElement"]) for item in document["relationships"]}
    assert described == {("DESCRIBES", system_entry["SPDXID"]), ("CONTAINS", package["SPDXID"])}


def test_another_package_is_another_document(bench: t.Any, system: Path, tmp_path: Path) -> None:
    options = {"root": str(system), "dest": str(tmp_path / "worker.json")}
    first = bench.done("image_manifest", options)
    with (system / "var/lib/dpkg/status").open("a") as status:
        status.write("\nPackage: new\nStatus: install ok installed\nVersion: 3\n")
    second = bench.done("image_manifest", options)
    assert second["changed"] is True and second["namespace"] != first["namespace"]
    assert "new 3" in second["diff"]["after"]["packages"] and "new 3" not in second["diff"]["before"]["packages"]


def test_an_endorser_can_publish_it(bench: t.Any, system: Path, tmp_path: Path) -> None:
    dest = tmp_path / "worker.json"
    bench.done("image_manifest", {"root": str(system), "dest": str(dest)})
    image = bench.image(package_manifest=str(dest))
    assert bench.done("imagelist_publish", bench.publishing(image))["changed"] is True


def test_nothing_is_written_into_the_image(bench: t.Any, system: Path) -> None:
    result = bench.run("image_manifest", {"root": str(system), "dest": str(system / "root/manifest.json")})
    assert result.failed and result["code"] == "report_inside"


def test_a_system_without_packages_is_one_sentence(bench: t.Any, tmp_path: Path) -> None:
    result = bench.run("image_manifest", {"root": str(tmp_path)})
    assert result.failed and result["code"] == "packages_missing"


def test_the_spdx_tools_find_the_document_valid(bench: t.Any, system: Path, tmp_path: Path) -> None:
    """With names, licences, times and trees that a careless writer would put into fields where they cannot stand."""
    site = system / "opt/vo b/lib/site-packages/x_y-1.0.dist-info"
    site.mkdir(parents=True)
    (site / "METADATA").write_text("Name: x.Y\nVersion: 1.0+local\nLicense: (any) of \u00e9 these\n")
    notes = system / "usr/share/doc/libstdc++6"
    notes.mkdir(parents=True)
    (notes / "copyright").write_text("Format: https://x\n\nFiles: *\nLicense: GPL-3+ with GCC exception\n")
    dest = tmp_path / "worker.spdx.json"
    result = bench.done("image_manifest", {"root": str(system), "dest": str(dest)})
    assert [tree["path"] for tree in result["unowned"]] == ["/opt/vo b"]
    from spdx_tools.spdx.parser.parse_anything import parse_file
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

    document = parse_file(str(dest))
    assert [message.validation_message for message in validate_full_spdx_document(document)] == []
    assert {package.name for package in document.packages} == {"Debian 12", "libstdc++6", "x.Y", "/opt/vo b"}
    urls = [json.loads(dest.read_text())["packages"][number]["externalRefs"] for number in (1, 2)]
    assert urls[1][0]["referenceLocator"] == "pkg:pypi/x-y@1.0%2Blocal"
