# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What changed between two versions of a list: the one answer for publishing, for a refresh, and for the history."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .model import CHECKSUM, IMAGE, IMAGES

Value = t.TypeVar("Value")

#: Keys of a list that every signature changes: their change alone is no change of meaning.
PER_SIGNATURE: t.Final = frozenset({"dc:date:created", "dc:date:expires", "hv:version"})
_SHA512: t.Final = f"{CHECKSUM}sha512"


@dataclass(frozen=True)
class Sides:
    """Identifiers, sorted: those that only the later side has, those that only the earlier one had, and those whose
    values differ."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


@dataclass(frozen=True)
class KeyChange:
    """One key with its value in the earlier and in the later version; None where it is absent."""

    key: str
    before: t.Any
    after: t.Any

    def as_dict(self) -> dict[str, t.Any]:
        """For JSON."""
        return {"key": self.key, "before": self.before, "after": self.after}


@dataclass(frozen=True)
class Difference:
    """The list's own keys; and of its images, by identifier, those that came, those that went, and what changed."""

    keys: tuple[KeyChange, ...]
    added: t.Mapping[str, t.Mapping[str, t.Any]]
    removed: t.Mapping[str, t.Mapping[str, t.Any]]
    changed: t.Mapping[str, tuple[KeyChange, ...]]
    titles: t.Mapping[str, str]

    def __bool__(self) -> bool:
        """Whether there is any, be it only that of the dates and the version."""
        return bool(self.keys or self.added or self.removed or self.changed)

    def identifiers(self) -> dict[str, list[str]]:
        """For JSON: the images by name alone."""
        return {"added": list(self.added), "removed": list(self.removed), "changed": list(self.changed)}

    def as_dict(self) -> dict[str, t.Any]:
        """For JSON: ``changed_keys``, and under ``images`` what was ``added``, ``removed`` and ``changed``."""
        return {
            "changed_keys": [change.as_dict() for change in self.keys],
            "images": {
                "added": [_brief(name, raw) for name, raw in self.added.items()],
                "removed": [_brief(name, raw) for name, raw in self.removed.items()],
                "changed": [
                    {
                        "identifier": name,
                        "title": self.titles[name],
                        "octets": any(change.key.lower() == _SHA512 for change in changes),
                        "changed_keys": [change.as_dict() for change in changes],
                    }
                    for name, changes in self.changed.items()
                ],
            },
        }


def compare(before: t.Mapping[str, Value], after: t.Mapping[str, Value]) -> Sides:
    """Which of what is named by identifiers came, went, and has another value."""
    return Sides(
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        changed=tuple(sorted(name for name in before.keys() & after.keys() if before[name] != after[name])),
    )


def difference(before: t.Mapping[str, t.Any], after: t.Mapping[str, t.Any]) -> Difference:
    """What changed between two list objects as they were read, an empty one for a list that was not there yet.

    The order of the images is no change.
    """
    older, newer = images_by_identifier(before), images_by_identifier(after)
    sides = compare(older, newer)
    return Difference(
        keys=_key_changes(_without_images(before), _without_images(after)),
        added={name: newer[name] for name in sides.added},
        removed={name: older[name] for name in sides.removed},
        changed={name: _key_changes(older[name], newer[name]) for name in sides.changed},
        titles={name: _text(newer[name], "dc:title") for name in sides.changed},
    )


def meaning(raw: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What a list says, for comparison: without dates and version, its images by identifier."""
    said = {key: value for key, value in raw.items() if key not in PER_SIGNATURE}
    said[IMAGES] = images_by_identifier(raw)
    return said


def images_by_identifier(raw: t.Mapping[str, t.Any]) -> dict[str, t.Mapping[str, t.Any]]:
    """The images of a list object: identifier in lower case -> image object."""
    return {item[IMAGE]["dc:identifier"].lower(): item[IMAGE] for item in raw.get(IMAGES, ())}


def _without_images(raw: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {key: value for key, value in raw.items() if key != IMAGES}


def _key_changes(before: t.Mapping[str, t.Any], after: t.Mapping[str, t.Any]) -> tuple[KeyChange, ...]:
    sides = compare(before, after)
    names = sorted({*sides.added, *sides.removed, *sides.changed})
    return tuple(KeyChange(name, before.get(name), after.get(name)) for name in names)


def _brief(name: str, raw: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {
        "identifier": name,
        "title": _text(raw, "dc:title"),
        "version": _text(raw, "hv:version"),
        "sha512": _text(raw, _SHA512).lower(),
    }


def _text(raw: t.Mapping[str, t.Any], key: str) -> str:
    value = raw.get(key, "")
    return value if isinstance(value, str) else str(value)
