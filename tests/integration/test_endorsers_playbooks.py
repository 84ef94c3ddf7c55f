# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An endorser's year by the playbooks: publish, update one image, renew, withdraw one; and coming from vmcaster."""

from __future__ import annotations

import json
import sqlite3
import typing as t
from pathlib import Path

import yaml

from ansible_collections.hepix.vmimages.plugins.module_utils._core.imagelist.model import ImageList
from ansible_collections.hepix.vmimages.plugins.module_utils._core.imagelist.reader import read_list
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.message.smime import read_message

LIST = "5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3"
ONE, TWO = "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1", "3b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"


def _published(web: Path) -> ImageList:
    return read_list(read_message((web / "workers.list").read_bytes()).content)


def _description(tmp_path: Path, pki: t.Any) -> dict[str, t.Any]:
    for name in ("one", "two", "new"):
        (tmp_path / f"{name}.raw").write_text(f"{name} " * 1000)
    (tmp_path / "web").mkdir()
    images = [
        {
            "identifier": identifier,
            "path": f"{tmp_path}/{name}.raw",
            "title": name,
            "uri": f"https://x.org/{name}-{{version}}",
        }
        for identifier, name in ((ONE, "one"), (TWO, "two"))
    ]
    return {
        "identifier": LIST,
        "title": "Workers",
        "description": "",
        "source": "example.org",
        "uri": "https://x.org/workers.list",
        "images": images,
        "certificate": str(pki.endorser.certificate_path),
        "private_key": str(pki.endorser.key_path),
        "history_dir": f"{tmp_path}/history",
        "uploads": [{"uri_match": "https://x.org/", "uri_replace": f"{tmp_path}/web/"}],
        "anchors": str(pki.certificates),
    }


def test_an_endorsers_year(run_playbook: t.Any, tmp_path: Path, pki: t.Any) -> None:
    web = tmp_path / "web"
    (tmp_path / "list.yml").write_text(yaml.safe_dump({"hepix_vmimages_publish": _description(tmp_path, pki)}))

    def play(name: str, **variables: t.Any) -> None:
        done = run_playbook(f"hepix.vmimages.{name}", "-e", f"@{tmp_path}/list.yml", "-e", json.dumps(variables))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "[WARNING]" not in done.stdout + done.stderr

    play("publish")
    assert {image.identifier: image.version for image in _published(web).images} == {ONE: "1", TWO: "1"}

    play("update_image", hepix_vmimages_image=ONE.upper(), hepix_vmimages_path=f"{tmp_path}/new.raw")
    assert {image.identifier: image.version for image in _published(web).images} == {ONE: "2", TWO: "1"}
    assert (web / "one-2").read_text() == "new " * 1000

    before = (web / "workers.list").read_bytes()
    play("renew")
    assert (web / "workers.list").read_bytes() == before

    play("withdraw_image", hepix_vmimages_image=ONE, hepix_vmimages_reason="The kernel has a hole")
    assert [image.identifier for image in _published(web).images] == [TWO]
    record = json.loads((tmp_path / "history" / LIST / "record.json").read_text())
    assert record["entries"][-1]["removed"] == {ONE: "The kernel has a hole"}


def test_coming_from_vmcaster(run_playbook: t.Any, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "vmcaster.db")
    for name, columns in {
        "endorser": "id, subject",
        "endorserMetadata": "id, fkEndorser, key, value",
        "imagelist": "id, identifier, updated",
        "ImagelistMetadata": "id, fkImageList, key, value",
        "Image": "id, identifier",
        "ImageMetadata": "id, fkImage, key, value",
        "Endorsement": "id, fkImageList, fkEndorser",
        "ImageListImage": "id, fkImageList, fkImage",
    }.items():
        connection.execute(f'CREATE TABLE "{name}" ({columns})')
    connection.execute("INSERT INTO imagelist VALUES (1, ?, NULL)", (LIST,))
    connection.execute("INSERT INTO ImagelistMetadata VALUES (1, 1, 'hv:uri', 'https://x.org/workers.list')")
    connection.execute("INSERT INTO ImagelistMetadata VALUES (2, 1, 'dc:title', ?)", ("Workers: {{ 1 + 1 }} ü",))
    connection.commit()
    variables = {"hepix_vmimages_database": f"{tmp_path}/vmcaster.db", "hepix_vmimages_directory": f"{tmp_path}/lists"}
    for _run in range(2):
        done = run_playbook("hepix.vmimages.import_vmcaster", "-e", json.dumps(variables))
        assert done.returncode == 0, done.stdout + done.stderr
    assert "changed=0" in done.stdout
    written = (tmp_path / "lists" / f"{LIST}.yml").read_text()
    # What Ansible would take for a template is marked as none.
    title = 'title: !unsafe "Workers: {{ 1 + 1 }} ü"'
    assert title in written
    described = yaml.safe_load(written.replace(title, "title: Workers"))["hepix_vmimages_publish"]
    assert described["uri"] == "https://x.org/workers.list"
