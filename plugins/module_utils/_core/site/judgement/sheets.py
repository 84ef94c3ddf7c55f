# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sheets of a snapshot: for each list one file below ``verdicts/`` with a JSON line for each image.

A sheet is never changed: its name has the digest of its octets, and ``verdicts.json`` names the sheets that count, so
that replacing this one file publishes all of them at once. A sheet that is named no longer is kept for one snapshot
more, for those who have just read the former one.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import typing as t
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path

from ...errors import SiteError
from ...transfer.atomic import fsync_directory, make_directory, storage_errors, sweep, write_atomic

#: What an image may be asked for by.
By = t.Literal["identifier", "tag", "sha512"]
NAMES: t.Final[tuple[By, ...]] = ("identifier", "tag", "sha512")
_KEY: t.Final = 5


@dataclass(frozen=True)
class Sheet:
    """What the snapshot says about one list's images, and while what it may stand; times are text.

    `file` and `size` (octets): the sheet itself, no file where there is no image. It was judged at `judged`, after the
    journal line `sequence`, on the list's `terms`; by the clock alone it holds until `until`.
    `end`: what is allowed in it may run until then at most. `names`: `key_of` all that its images may be asked by.
    The first `listed` lines are of interest to people; `others` counts the rest by verdict.
    """

    file: str
    size: int
    sequence: int
    judged: str
    until: str | None
    terms: str
    end: str | None
    names: str
    listed: int
    others: t.Mapping[str, int]

    def as_dict(self) -> dict[str, t.Any]:
        """For JSON; `from_dict` reads it back."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_dict(cls, data: t.Mapping[str, t.Any]) -> Sheet:
        """What `as_dict` wrote."""
        return cls(**{field.name: data[field.name] for field in fields(cls)})

    def may_hold(self, key: str) -> bool:
        """Whether an image may be asked for by the name with this key; certainly not, if not."""
        at = self.names.find(key)
        while at % _KEY and at >= 0:
            at = self.names.find(key, at + 1)
        return at >= 0


def key_of(by: By, name: str) -> str:
    """A few characters for a UUID, tag or sha512: names with other keys are other names."""
    return base64.b64encode(hashlib.sha256(f"{by} {name}".encode()).digest()[:6]).decode()[:_KEY]


class Content(t.NamedTuple):
    """The octets of a sheet to be written, and what `Sheet` tells of them."""

    file: str
    octets: bytes
    names: str
    listed: int
    others: dict[str, int]


def compose(list_id: str, images: t.Iterable[tuple[t.Mapping[str, t.Any], bool]]) -> Content:
    """The sheet for the images, each given with whether it is of interest to people."""
    first: list[str] = []
    last: list[str] = []
    others: Counter[str] = Counter()
    names: dict[str, None] = {}
    for image, listed in images:
        (first if listed else last).append(json.dumps(image, sort_keys=True))
        if not listed:
            others[image["verdict"]["code"]] += 1
        names.update((key_of(by, image[by]), None) for by in NAMES)
    octets = "".join(f"{line}\n" for line in (*first, *last)).encode()
    file = f"{list_id}-{hashlib.sha256(octets).hexdigest()[:32]}.jsonl" if octets else ""
    return Content(file, octets, "".join(names), len(first), dict(sorted(others.items())))


def present(directory: Path) -> dict[str, int]:
    """The files below `directory`, and their sizes."""
    with storage_errors(directory, reading=True), contextlib.suppress(FileNotFoundError):
        return {path.name: path.lstat().st_size for path in directory.iterdir()}
    return {}


def write(directory: Path, contents: t.Sequence[Content]) -> None:
    """Write sheets, all of them forced to disk at the end; TransferError ``disk_full``, ``not_writable``.

    The caller is the only writer.
    """
    made = [content for content in contents if content.file]
    if not made:
        return
    make_directory(directory)
    sweep(directory)
    with storage_errors(directory):
        for content in made:
            write_atomic(directory / content.file, content.octets, durable=False)
        # The first one waits for the disk, and the others find their octets there already.
        for content in made:
            descriptor = os.open(directory / content.file, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    fsync_directory(directory)


def tidy(directory: Path, keep: t.Container[str]) -> None:
    """Remove the sheets that are not to be kept; what cannot be removed stays for the next time."""
    for name in present(directory):
        if name not in keep:
            with contextlib.suppress(OSError):
                (directory / name).unlink()


def find(directory: Path, sheet: Sheet, by: By, name: str) -> list[dict[str, t.Any]]:
    """The images of a sheet that have `name`; ``snapshot_missing``, ``snapshot_stale``, as `read`."""
    octets = read(directory, sheet)
    sought = json.dumps(name).encode()
    images = (json.loads(line) for line in octets.splitlines() if sought in line)
    return [image for image in images if image[by] == name]


def read(directory: Path, sheet: Sheet) -> bytes:
    """The octets of a sheet, its digest checked.

    ``snapshot_missing`` where it is damaged, ``snapshot_stale`` where it is gone because newer ones took its place,
    ``not_readable``.
    """
    octets = _octets(directory, sheet, None)
    if sheet.file and hashlib.sha256(octets).hexdigest()[:32] != sheet.file.rpartition("-")[2].partition(".")[0]:
        raise SiteError("snapshot_missing", f"{directory / sheet.file} is damaged.", path=str(directory / sheet.file))
    return octets


def read_listed(directory: Path, sheet: Sheet) -> list[dict[str, t.Any]]:
    """The images of a sheet that are of interest to people; errors as those of `read`."""
    if not sheet.listed:
        return []
    lines = _octets(directory, sheet, sheet.listed).splitlines()
    try:
        return [json.loads(line) for line in lines]
    except ValueError as error:
        path = directory / sheet.file
        raise SiteError("snapshot_missing", f"{path} is damaged.", path=str(path)) from error


def _octets(directory: Path, sheet: Sheet, lines: int | None) -> bytes:
    """All of the file, or its first lines."""
    if not sheet.file:
        return b""
    path = directory / sheet.file
    try:
        with path.open("rb") as stream:
            return stream.read() if lines is None else b"".join(stream.readline() for _line in range(lines))
    except FileNotFoundError as error:
        raise SiteError("snapshot_stale", f"{path} is gone: newer verdicts took its place.", path=str(path)) from error
    except OSError as error:
        raise SiteError("not_readable", f"{path} cannot be read: {error.strerror}.", path=str(path)) from error
