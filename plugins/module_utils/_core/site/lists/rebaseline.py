# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Re-baselining: the administrator names the one content of a list that is accepted next, whatever its version.

For the day on which a mistake, or somebody who should not have had the key, has raised a list's version so far that
nothing can follow it. The act names a digest and a reason, and is journaled; everything but the version is checked
as ever. It is pending until the list's next version is accepted, whichever that is, and then it is used up.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ...errors import SiteError
from ...outcome import Outcome
from ...times import to_text
from ..judgement import snapshot
from ..judgement.assess import rebaseline_record, require_list

if t.TYPE_CHECKING:
    from ..store.catalogue import Catalogue

_SHA512: t.Final = re.compile(r"[0-9a-f]{128}\Z")


@dataclass(frozen=True)
class Act:
    """`digest`: SHA-512 of the signed content, in hex; `author` None: the user of the process."""

    digest: str
    reason: str
    author: str | None = None

    @classmethod
    def from_options(cls, options: t.Mapping[str, t.Any]) -> Act:
        """Read ``digest``, ``reason`` and ``author``; ``option_invalid`` names the one that is wrong."""
        digest = str(options["digest"]).strip().lower()
        reason = str(options["reason"]).strip()
        if not _SHA512.match(digest):
            raise SiteError("option_invalid", "digest: it is not a SHA-512 digest of 128 hexadecimal digits.")
        if not reason:
            raise SiteError("option_invalid", "reason: say why, for those who will read the journal.")
        return cls(digest, reason, options.get("author"))


def rebaseline(catalogue: Catalogue, name: str, act: Act, *, check: bool = False) -> Outcome:
    """Record the act for a subscribed list, by identifier or address; the next refresh accepts that content.

    An act with the same digest and reason is made once. Raises ``unknown_list``, ``not_yet_accepted``, and
    ``option_invalid`` for an act that was made before and has ended.
    """
    list_id = require_list(catalogue, name)
    if _accepted(catalogue, list_id) is None:
        raise SiteError("not_yet_accepted", f"No version of list {list_id} was accepted so far.")
    due = is_due(catalogue, list_id, act)
    over = warnings(describe(catalogue, list_id, act))
    if over:
        raise SiteError("option_invalid", f"reason: {over[0]}")
    if due and not check:
        with catalogue.writing() as writer:
            writer.commit(event(catalogue, list_id, act))
        snapshot.write(catalogue)
    elif not check:
        snapshot.ensure(catalogue)
    made = describe(catalogue, list_id, act, planned=due and check)
    return Outcome(
        changed=due,
        before={"rebaseline": None} if due else {},
        after={"rebaseline": made} if due else {},
        actions=(action(list_id, act),) if due else (),
        data={"list": list_id, "rebaseline": made},
    )


def is_due(catalogue: Catalogue, list_id: str, act: Act) -> bool:
    """Whether the act is to be made: another content is the accepted one, and the act was not made before."""
    standing = _accepted(catalogue, list_id)
    return standing is not None and standing != act.digest and _made(catalogue, list_id, act) is None


def event(catalogue: Catalogue, list_id: str, act: Act) -> tuple[str, dict[str, t.Any]]:
    """The journal's record of the act."""
    record = {
        "identifier": list_id,
        "content_sha512": act.digest,
        "reason": act.reason,
        "author": act.author or catalogue.actor,
    }
    return "rebaselined", record


def action(list_id: str, act: Act) -> dict[str, t.Any]:
    """For the actions of an outcome."""
    return {"action": "rebaseline", "list": list_id, "digest": act.digest}


def describe(catalogue: Catalogue, list_id: str, act: Act, *, planned: bool = False) -> dict[str, t.Any]:
    """The act and its ``state``: pending; done, when its content was accepted; ended, when another one was accepted
    first; not_needed, when the content was the accepted one already or nothing was accepted so far."""
    row = _made(catalogue, list_id, act)
    if row is not None:
        return rebaseline_record(row)
    facts = {"digest": act.digest, "reason": act.reason, "author": act.author or catalogue.actor}
    if planned:
        return {**facts, "at": to_text(catalogue.now()), "state": "pending"}
    return {**facts, "at": None, "state": "not_needed"}


def warnings(made: t.Mapping[str, t.Any] | None) -> tuple[str, ...]:
    """What a person should hear of."""
    if made is None or made["state"] != "ended":
        return ()
    return (
        f"The re-baselining to {made['digest'][:16]}... of {made['at']} has ended: another version was accepted, or "
        "another act was made, after it. To make it again, give another reason.",
    )


def _accepted(catalogue: Catalogue, list_id: str) -> str | None:
    row = catalogue.standing_version(list_id)
    return str(row["content_sha512"]) if row else None


def _made(catalogue: Catalogue, list_id: str, act: Act) -> t.Any:
    return catalogue.row(
        "SELECT * FROM rebaselines WHERE list_id = ? AND content_sha512 = ? AND reason = ? ORDER BY sequence DESC",
        list_id,
        act.digest,
        act.reason,
    )
