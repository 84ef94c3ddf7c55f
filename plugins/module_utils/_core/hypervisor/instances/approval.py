# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be started on this node, and from which file: the snapshot's verdict, with its code where there is a no.

The snapshot is for everybody to read, and needs no library: it is what `vmimages verdict` answers from on a node.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ...disks.formats import parse_format
from ...disks.headers import inspect
from ...errors import DiskError, SiteError
from ...site.judgement import snapshot
from ...site.judgement.verdict import require_allowed
from ...site.store.state import StateDirectory
from ...times import from_text
from ...transfer.checksum import digest_file

if t.TYPE_CHECKING:
    from ...site.judgement.snapshot import Snapshot

#: Formats that hypervisors are given.
FORMATS: t.Final = ("raw", "qcow2")


@dataclass(frozen=True)
class Approved:
    """An image that may run: `path` is its file of `format` in the cache, of these octets, `size` and `virtual_size`.

    `endorsed` is the sha512 in the list, which that of a derived file is not. `expires` is the end of the endorsement.
    """

    image: str
    version: str
    title: str
    endorsed: str
    list: str
    list_version: str
    dn: str
    ca: str
    expires: datetime
    path: str
    format: str
    sha512: str
    size: int
    virtual_size: int
    stat: t.Mapping[str, int]
    verdict: t.Mapping[str, t.Any]


class Verdicts:
    """The snapshot of a state directory, read once for all instances; what was hashed is not hashed again."""

    def __init__(self, state_dir: str, now: datetime) -> None:
        self._now = now
        state = StateDirectory.at(state_dir)
        self._found: Snapshot = snapshot.load(state)
        self._places = (state.current.resolve(), state.derived.resolve())
        self._digests: dict[str, str] = {}

    @property
    def written(self) -> str:
        """When the snapshot was written."""
        return self._found.written

    def judge(self, name: str, max_age: timedelta | None = None) -> dict[str, t.Any]:
        """The image `name` (UUID or tag) with its verdict; raises as `snapshot.judge`."""
        return snapshot.judge(self._found, name, self._now, max_age=max_age)

    def approve(
        self, name: str, *, wanted: str | None = None, whole: bool = False, max_age: timedelta | None = None
    ) -> Approved:
        """The image `name` in the format `wanted` (None: as it was endorsed, else as it was derived).

        `whole`: its octets are read and compared, and not only its stat record. Raises `SiteError` with the verdict's
        code, or ``not_derived``, ``file_changed``, and as `snapshot.judge`; `DiskError` of `headers.inspect`.
        """
        image = self.judge(name, max_age)
        require_allowed(image)
        kind, file = self._file(image, wanted)
        self._require_cached(file["path"])
        disk = inspect(Path(file["path"]), kind)
        if whole and self._digest(file["path"]) != file["sha512"]:
            raise SiteError("file_changed", f"{file['path']} does not hold the endorsed octets", path=file["path"])
        about = self._found.lists.get(image["list"], {})
        signer = about.get("signer")
        if not signer or not signer.get("dn"):
            raise SiteError("snapshot_stale", f"The verdicts of {self.written} do not tell who signed the list")
        ends = [from_text(text) for text in (image.get("expires"), about.get("expires")) if text]
        return Approved(
            image=image["identifier"],
            version=image["version"],
            title=image["title"],
            endorsed=image["sha512"],
            list=image["list"],
            list_version=str(about["version"]),
            dn=signer["dn"],
            ca=signer["ca"],
            expires=min(ends),
            path=file["path"],
            format=kind,
            sha512=file["sha512"],
            size=file["size"],
            virtual_size=disk.virtual_size,
            stat=file["stat"],
            verdict=image["verdict"],
        )

    def _file(self, image: t.Mapping[str, t.Any], wanted: str | None) -> tuple[str, t.Mapping[str, t.Any]]:
        files = {kind: file for kind, file in self._found.formats(image).items() if kind in FORMATS}
        if not image.get("format") and wanted is not None:
            # The list does not say; the site does, and the header is looked at.
            path, stat = image["verdict"]["path"], image["stat"]
            files[wanted] = {
                "path": path,
                "derived": False,
                "size": stat["size"],
                "sha512": image["sha512"],
                "stat": stat,
            }
        if wanted is None:
            ours = sorted(files, key=lambda kind: (files[kind]["derived"], FORMATS.index(kind)))
            wanted = ours[0] if ours else None
        if wanted is None or wanted not in files:
            if not image.get("format"):
                raise SiteError(
                    "option_invalid",
                    f"disk.format: the list does not say of which format image {image['identifier']} is",
                    option="disk.format",
                )
            try:
                stated = str(parse_format(image["format"]))
            except DiskError:
                stated = str(image["format"])
            raise SiteError(
                "not_derived",
                f"Image {image['identifier']} is endorsed as {stated}, and is not in the cache as "
                f"{wanted or ' or '.join(FORMATS)}",
                format=wanted,
            )
        return wanted, files[wanted]

    def _require_cached(self, path: str) -> None:
        """The snapshot is the service user's: it names no file of root's for a guest to read."""
        if Path(path).parent.resolve() not in self._places:
            raise SiteError("file_unknown", f"{path} does not lie in the cache", path=path)

    def _digest(self, path: str) -> str:
        if path not in self._digests:
            self._digests[path] = digest_file(path).sha512
        return self._digests[path]


def instance_verdict(verdicts: Verdicts, image: str, sha512: str | None) -> dict[str, t.Any]:
    """What may be said now of an instance of this image that has these octets (None: not known).

    ``allowed`` (None: nothing can be told), ``code``, ``reason``, ``replaced`` (refused only because the list has
    another version by now), ``good_until``.
    """
    nothing = {"code": None, "reason": "", "replaced": False, "good_until": None}
    try:
        found = verdicts.judge(image)
    except SiteError as error:
        # A stale snapshot forbids starts; it is no reason to take what runs for refused.
        unknown = error.code.startswith("snapshot_") or error.code in ("not_readable", "state_newer")
        allowed = None if unknown else False
        return {**nothing, "allowed": allowed, "code": error.code, "reason": error.sentence}
    judged = found["verdict"]
    if not judged["allowed"]:
        reasons = " ".join(reason["text"] for reason in judged["reasons"])
        return {**nothing, "allowed": False, "code": judged["code"], "reason": reasons}
    if sha512 is not None and found["sha512"] != sha512:
        reason = f"The list has version {found['version']} of the image, and no longer the octets of this instance."
        return {**nothing, "allowed": False, "code": "withdrawn", "reason": reason, "replaced": True}
    return {**nothing, "allowed": True, "good_until": judged["good_until"]}
