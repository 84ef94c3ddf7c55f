# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an endorser has published of one list, and when: the answers of the record that publishing keeps."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ..errors import PublishError, VmimagesError
from ..imagelist import chronicle
from .history import PUBLISHED, Entry, History, Record


def history(history_dir: Path, identifier: str, *, between: tuple[str, str] | None = None) -> dict[str, t.Any]:
    """Every message of the list, in order, and with `between` what changed between two versions.

    Raises PublishError ``history_unreadable``, also when there is none; SiteError ``option_invalid``.
    """
    kept_in = History(history_dir, identifier.lower())
    record = kept_in.read()
    if not record.entries:
        raise PublishError(
            "history_unreadable", f"There is no history of list {identifier} in {history_dir}.", path=str(history_dir)
        )
    kept = [_kept(kept_in, entry) for entry in record.entries]
    versions, problems = chronicle.describe(kept)
    standing = [entry.sequence for entry in record.entries if entry.state == PUBLISHED][-1:]
    return {
        "versions": [{**version, "standing": version["number"] in standing} for version in versions],
        "difference": chronicle.between(kept, *between) if between else None,
        "problems": [problem.as_dict() for problem in (*problems, *_lost(kept_in, record))],
        "evidence": [
            {"image_sha512": image, "kind": kind, "sha512": sha512, "path": str(kept_in.evidence_path(sha512))}
            for image, kinds in sorted(record.evidence.items())
            for kind, sha512 in sorted(kinds.items())
        ],
    }


def _lost(kept_in: History, record: Record) -> t.Iterator[VmimagesError]:
    """What is wrong with the files about images."""
    for sha512 in sorted({sha512 for kinds in record.evidence.values() for sha512 in kinds.values()}):
        try:
            kept_in.check_evidence(sha512)
        except VmimagesError as error:
            yield error


def _kept(kept_in: History, entry: Entry) -> chronicle.Kept:
    facts = {
        "version": entry.version,
        "number": entry.sequence,
        "at": entry.recorded,
        "by": None,
        "state": entry.state,
        "created": entry.created,
        "expires": entry.expires,
        "signer": {"dn": entry.signer_dn, "ca": entry.signer_ca, "not_after": entry.signer_not_after},
        "message": str(kept_in.path(entry.sequence, entry.version)),
        "message_sha256": entry.sha256,
        "content_sha512": entry.sha512_of_content,
        "removed": [{"identifier": name, "reason": reason} for name, reason in sorted(entry.removed.items())],
    }
    return chronicle.Kept(entry.version, facts, lambda: kept_in.message(entry))
