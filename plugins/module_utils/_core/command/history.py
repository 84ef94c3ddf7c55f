# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``vmimages history``: what became of a list, or of an image, and what changed between two versions of a list."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

from ..errors import SiteError
from ..site.judgement import asked
from ..site.store import preload
from .line.catalogue import open_catalogue
from .line.output import emit, emit_failures, emit_json, printable, table

if t.TYPE_CHECKING:
    import argparse

    from ..site.store.catalogue import Catalogue

PROBLEMS: t.Final = 1


def history(options: argparse.Namespace) -> int:
    """0, or 1 where a kept message is no longer what it was."""
    between = None if options.between is None else (options.between[0], options.between[1])
    if options.history_dir is not None:
        from ..endorser import published

        return _emit_list(published.history(Path(options.history_dir), options.name, between=between), options)
    from ..site.history import images, lists

    with open_catalogue(options, load=preload.judging) as catalogue:
        if lists.find(catalogue, options.name) is not None:
            return _emit_list(lists.history(catalogue, options.name, between=between), options)
        if between is not None:
            raise SiteError("unknown_list", f"No list {options.name!r} is or was subscribed.", name=options.name)
        image_id = _image(catalogue, options.name)
        told = images.history(catalogue, [image_id])[image_id]
    return _emit_image(image_id, told, options)


def _image(catalogue: Catalogue, name: str) -> str:
    kind = asked.kind_of(name)
    if kind != asked.PATH:
        return str(asked.find(catalogue, name, kind).rows[0]["image_id"])
    with asked.candidate(name, read=False) as file:
        return str(asked.find(catalogue, name, kind, file).rows[0]["image_id"])


def _emit_list(told: t.Mapping[str, t.Any], options: argparse.Namespace) -> int:
    code = PROBLEMS if told["problems"] else 0
    if options.json:
        emit_json(told)
        return code
    if told["difference"] is not None:
        emit(*_difference(told["difference"]))
    else:
        emit(*_versions(told["versions"]))
        _emit_acts(told)
    emit_failures((problem["context"].get("path", "history"), problem) for problem in told["problems"])
    return code


def _versions(versions: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    rows = [
        (
            one["version"],
            f"{one['state']}, standing" if one["standing"] else one["state"],
            one["at"],
            one["expires"],
            _changes(one["changes"]),
            one["signer"]["dn"],
            f"{one['content_sha512'][:16]}...",
        )
        for one in versions
    ]
    return table(("VERSION", "STATE", "AT", "EXPIRES", "IMAGES", "SIGNER", "CONTENT"), rows) or [
        "No version was accepted."
    ]


def _changes(changes: t.Mapping[str, t.Sequence[str]] | None) -> str:
    """As ``+1 -0 ~2``: added, removed, changed."""
    if changes is None:
        return "unreadable"
    return " ".join(
        f"{sign}{len(changes[name])}" for sign, name in (("+", "added"), ("-", "removed"), ("~", "changed"))
    )


def _emit_acts(told: t.Mapping[str, t.Any]) -> None:
    acts = [(one["at"], one["event"], one["by"], one["uri"]) for one in told.get("subscriptions", ())]
    acts += [(one["at"], f"refused: {one['code']}", one["by"], one["detail"]) for one in told.get("refusals", ())]
    acts += [
        (one["at"], f"re-baselined ({one['state']})", one["author"], one["reason"])
        for one in told.get("rebaselines", ())
    ]
    acts += [(one["at"], one["decision"], one["author"], one["reason"]) for one in told.get("decisions", ())]
    if acts:
        emit("", *table(("AT", "WHAT", "BY", "DETAIL"), sorted(acts, key=lambda act: str(act[0]))))


def _difference(found: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    yield f"from version {printable(found['from'])} to version {printable(found['to'])}"
    yield from _keys(found["changed_keys"], "  ")
    images = found["images"]
    for sign, name in (("+", "added"), ("-", "removed")):
        for one in images[name]:
            yield printable(f"{sign} {one['identifier']} version {one['version']} {one['title']}")
    for one in images["changed"]:
        octets = "other octets" if one["octets"] else "the same octets"
        yield printable(f"~ {one['identifier']} {one['title']} ({octets})")
        yield from _keys(one["changed_keys"], "    ")


def _keys(changes: t.Iterable[t.Mapping[str, t.Any]], indent: str) -> t.Iterator[str]:
    for change in changes:
        yield printable(f"{indent}{change['key']}: {_value(change['before'])} -> {_value(change['after'])}")


def _value(value: t.Any) -> str:
    return "-" if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _emit_image(image_id: str, told: t.Mapping[str, t.Any], options: argparse.Namespace) -> int:
    broken = [one for one in told["endorsements"] if not one["intact"]]
    if options.json:
        emit_json({"identifier": image_id, **told})
        return PROBLEMS if broken else 0
    endorsed = [
        (one["at"], one["list"], one["list_version"], one["version"], one["signer"]["dn"], _intact(one))
        for one in told["endorsements"]
    ]
    emit(*table(("ENDORSED AT", "LIST", "LIST VERSION", "VERSION", "SIGNER", "MESSAGE"), endorsed))
    decided = [
        (one["at"], one["decision"], f"{one['target_type']} {one['target']}", one["author"], one["reason"])
        for one in told["decisions"]
    ]
    cached = [(one["at"], one["event"], one["file"], one["code"]) for one in told["events"]]
    held = [(one["list"], one["identifier"], one["version"], _endorsed(one)) for one in told["holders"]]
    for lines in (
        table(("DECIDED AT", "DECISION", "ABOUT", "BY", "REASON"), decided),
        table(("AT", "CACHE", "FILE", "WHY"), cached),
        table(("THESE OCTETS IN LIST", "IMAGE", "VERSION", "STATE"), held),
    ):
        if lines:
            emit("", *lines)
    return PROBLEMS if broken else 0


def _intact(one: t.Mapping[str, t.Any]) -> str:
    return "good" if one["intact"] else "changed or lost"


def _endorsed(one: t.Mapping[str, t.Any]) -> str:
    return "endorsed" if one["endorsed"] else "no longer endorsed"
