# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Catalogues to measure with: as many signed lists, images and versions as are asked for, made once and kept.

A catalogue is made of its truth alone, archived messages and journal lines, in the time of one signature each; the
index then comes from them by our own `rebuild`. The messages are genuine: anything may be done with them.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import hashlib
import json
import os
import pathlib
import shutil
import typing as t
import uuid

from ansible_collections.hepix.vmimages.playbooks.files import demo_ca
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store import journal
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.subscription import Subscription
from ansible_collections.hepix.vmimages.plugins.module_utils._core.times import to_text
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.message import smime

#: To be raised when what is made here changes: nothing that was kept is used then.
EDITION: t.Final = 1
#: How many images of a list are other ones in each further version.
CHANGED: t.Final = 2


@dataclasses.dataclass(frozen=True)
class Size:
    """How many lists, images of each, and accepted versions of each."""

    lists: int = 1000
    images: int = 100
    versions: int = 1

    def __str__(self) -> str:
        return f"{self.lists}x{self.images}x{self.versions}"


def list_id(number: int) -> str:
    """The identifier of a list."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"list {number}"))


def image_id(number: int, image: int) -> str:
    """The UUID of an image of a list."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"image {image} of list {number}"))


def tag(number: int, image: int) -> str:
    """The tag of an image: its title."""
    return f"Image {image} of list {number} [AlmaLinux/9/KVM]"


@dataclasses.dataclass
class World:
    """An endorser, and a directory in which lists and catalogues are made; `base` is where a server has the lists."""

    directory: pathlib.Path
    now: datetime.datetime
    base: str = "http://127.0.0.1:9/lists"

    @functools.cached_property
    def pki(self) -> demo_ca.DemoCA:
        """Trust anchors and an endorser, made when they are not there."""
        made = demo_ca.DemoCA(self.directory / "pki", self.now)
        if not made.certificates.is_dir():
            made.make()
        return made

    @functools.cached_property
    def endorser(self) -> demo_ca.Issued:
        """Who signs; loading a key takes longer than signing with it."""
        return self.pki.endorser

    def uri(self, number: int) -> str:
        """Where a list is published."""
        return f"{self.base}/{number}"

    def subscription(self, number: int, **options: t.Any) -> Subscription:
        """A subscription to a list, which goes unrefreshed for a week at most."""
        endorser = self.endorser
        return Subscription.from_options(
            {
                "uri": self.uri(number),
                "identifier": list_id(number),
                "endorsers": [{"dn": endorser.dn, "ca": endorser.ca}],
                "anchors": str(self.pki.certificates),
                "max_unrefreshed": 7 * 86400,
                **options,
            }
        )

    def messages(self, number: int, size: Size) -> t.Iterator[bytes]:
        """The signed versions of a list, one after the other; in each some images are other ones."""
        endorser = self.endorser
        certificate, key = endorser.certificate, endorser.key
        images = [json.dumps({"hv:image": self._image(number, image, 1)}) for image in range(size.images)]
        for version in range(1, size.versions + 1):
            for image in range(CHANGED if version > 1 else 0):
                image = (version * CHANGED + image) % size.images
                images[image] = json.dumps({"hv:image": self._image(number, image, version)})
            created = self.now - datetime.timedelta(days=1 + size.versions - version)
            head = json.dumps(
                {
                    "dc:identifier": list_id(number),
                    "dc:date:created": to_text(created),
                    "dc:date:expires": to_text(self.now + datetime.timedelta(days=28)),
                    "dc:title": f"List {number}",
                    "dc:description": "A list to measure with",
                    "dc:source": "benchmark",
                    "hv:uri": self.uri(number),
                    "hv:version": str(version),
                    "hv:endorser": {
                        "hv:x509": {
                            "dc:creator": "Erin",
                            "hv:email": "erin@example.org",
                            "hv:dn": endorser.dn,
                            "hv:ca": endorser.ca,
                        }
                    },
                }
            )
            content = f'{{"hv:imagelist": {head[:-1]}, "hv:images": [{", ".join(images)}]}}}}\n'.encode()
            yield smime.sign_message(content, certificate=certificate, key=key)  # type: ignore[arg-type]

    @staticmethod
    def _image(number: int, image: int, version: int) -> dict[str, t.Any]:
        name = image_id(number, image)
        return {
            "dc:identifier": name,
            "dc:title": tag(number, image),
            "dc:description": "A base image with all updates and no password",
            "hv:hypervisor": "KVM",
            "hv:format": "qcow2",
            "hv:size": 1234567890,
            "hv:uri": f"https://images.example.org/{number}/{image}-{version}.qcow2",
            "hv:version": str(version),
            "sl:arch": "x86_64",
            "sl:checksum:sha512": hashlib.sha512(f"{name} {version}".encode()).hexdigest(),
            "sl:comments": "",
            "sl:os": "Linux",
            "sl:osversion": "9.6",
        }

    def state(self, size: Size) -> pathlib.Path:
        """A state directory with nothing but messages and journal, kept for the next call; not to be changed."""
        target = self.directory / f"state-{size}"
        if not target.is_dir():
            partial = self.directory / f"state-{size}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            self._make(partial, size)
            partial.rename(target)
        return target

    def _make(self, directory: pathlib.Path, size: Size) -> None:
        for place in ("messages", "cache/downloading", "cache/current", "cache/expired"):
            (directory / place).mkdir(parents=True)
        signer = {"dn": self.endorser.dn, "ca": self.endorser.ca, "rfc4514": "", "fingerprint": "0" * 64}
        signer["not_after"] = to_text(self.endorser.certificate.not_valid_after_utc)
        path, head = directory / "journal.jsonl", journal.Head()
        for number in range(size.lists):
            (directory / "messages" / list_id(number)).mkdir()
            events: list[tuple[str, t.Mapping[str, t.Any]]] = [("subscribed", self.subscription(number).as_dict())]
            for version, octets in enumerate(self.messages(number, size), 1):
                digest = hashlib.sha256(octets).hexdigest()
                name = f"{list_id(number)}/{head.sequence + 1 + version:09d}-{digest}.smime"
                (directory / "messages" / name).write_bytes(octets)
                record = {
                    "identifier": list_id(number),
                    "version": str(version),
                    "message": name,
                    "message_sha256": digest,
                    "content_sha512": hashlib.sha512(smime.read_message(octets).content).hexdigest(),
                    "signer": signer,
                    "path": [],
                    "crls": [],
                    "good_until": to_text(self.now + datetime.timedelta(days=28)),
                }
                events.append(("accepted", record))
            lines = journal.compose(path, events, head=head, at=self.now, by="benchmark")
            journal.write(path, [line for _entry, line in lines], head=head)
            head = lines[-1][0].head

    def copy(self, size: Size, target: pathlib.Path) -> pathlib.Path:
        """A state directory of its own at `target`; the messages, which nothing changes, are linked."""
        shutil.copytree(self.state(size), target, copy_function=_link)
        journal_path = target / "journal.jsonl"
        octets = journal_path.read_bytes()
        journal_path.unlink()
        journal_path.write_bytes(octets)
        return target


def _link(source: str, target: str) -> str:
    os.link(source, target)
    return target
