# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a wish and the image that it means come to: the options of a machine, and the record of the instance."""

from __future__ import annotations

import typing as t
from datetime import datetime

from ....times import to_text
from .. import records
from ..approval import Approved
from ..records import ImageRecord, Record

if t.TYPE_CHECKING:
    from .making import Making


def machine_options(making: Making) -> dict[str, t.Any]:
    """The options of `Machine`."""
    wish, approved, volume = making.wish, making.approved, making.volume
    image_format = volume.format(approved)
    disk: dict[str, t.Any] = {"path": str(volume.path), "format": image_format, "target": wish.target}
    if volume.kind == "overlay":
        disk["backing"] = {"path": approved.path, "format": approved.format}
    return {
        **(wish.machine or {}),
        "name": wish.name,
        "uuid": making.standing.uuid,
        "mode": wish.mode,
        "disk": disk,
        "contexts": [{"path": one.path, "attach": one.attach} for one in wish.contexts],
        "image": provenance(approved),
    }


def provenance(approved: Approved) -> dict[str, t.Any]:
    """What a machine tells of its image."""
    return {
        "uuid": approved.image,
        "version": approved.version,
        "sha512": approved.endorsed,
        "list": approved.list,
        "list_version": approved.list_version,
        "endorser": {"dn": approved.dn, "ca": approved.ca},
        "expires": to_text(approved.expires),
    }


def instance_record(making: Making, until: datetime | None, *, is_new: bool) -> Record:
    wish, approved, standing = making.wish, making.approved, making.standing
    old = None if is_new else standing.record
    made = [] if making.volume.kind == "device" else [str(making.volume.path)]
    made += [one.path for one in wish.contexts if one.made is not None]
    if wish.output != "domain" and wish.dest is not None:
        made.append(str(wish.dest))
    # A context disk that is wanted no more still goes with the instance.
    if standing.record is not None:
        # Its former disk is gone with this one: what comes to be there is somebody else's.
        gone = {*made, standing.record.disk.path} if is_new else set(made)
        made += [path for path in standing.record.made if path not in gone]
    unknown = records.DiskRecord(str(making.volume.path), making.volume.kind, "raw", None, 0, 0)
    return Record(
        uuid=standing.uuid,
        name=wish.name,
        connection=wish.connection,
        mode=wish.mode,
        created=making.now if old is None else old.created,
        until=until,
        author=wish.author if old is None else old.author,
        disk=unknown if old is None else old.disk,
        image=ImageRecord(
            uuid=approved.image,
            version=approved.version,
            sha512=approved.endorsed,
            size=approved.size,
            list=approved.list,
            list_version=approved.list_version,
            endorser_dn=approved.dn,
            endorser_ca=approved.ca,
            expires=approved.expires,
            path=approved.path,
            mtime_ns=approved.stat["mtime_ns"],
        ),
        contexts=tuple(one.path for one in wish.contexts),
        made=tuple(made),
    )
