# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A context disk as an ISO 9660 image with Rock Ridge and Joliet, written and read with pycdlib.

Every reader finds its file names: Linux takes Rock Ridge's, others Joliet's; the plain names are a last resort. The
octets depend on the disk and its date alone: pycdlib takes dates from the clock and the time zone, so they are set
afterwards (see `dates`).
"""

from __future__ import annotations

import io
import re
import typing as t

from ....errors import ContextError
from ..tree import Disk, Entry
from .dates import set_dates

if t.TYPE_CHECKING:
    import pycdlib
    from pycdlib.dr import DirectoryRecord

_FILES_LIMIT: t.Final = 10_000
_DIRECTORY_MODE: t.Final = 0o500


def write_image(disk: Disk, source_date: int) -> bytes:
    """The octets of the image; the same for the same disk and date, on every host and at every time."""
    import pycdlib

    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=disk.label, app_ident_str="HEPIX.VMIMAGES")
    plain = _PlainNames()
    directories: set[str] = set()
    for path in sorted(disk.entries):
        entry = disk.entries[path]
        for above in _directories(path):
            if above not in directories:
                directories.add(above)
                iso.add_directory(
                    plain.directory(above),
                    rr_name=above.rsplit("/", 1)[-1],
                    joliet_path=f"/{above}",
                    file_mode=0o040000 | _DIRECTORY_MODE,
                )
        iso.add_fp(
            io.BytesIO(entry.octets),
            len(entry.octets),
            iso_path=plain.file(path),
            rr_name=path.rsplit("/", 1)[-1],
            joliet_path=f"/{path}",
            file_mode=0o100000 | entry.mode,
        )
    written = io.BytesIO()
    iso.write_fp(written)
    iso.close()
    octets = bytearray(written.getbuffer())
    set_dates(octets, source_date)
    return bytes(octets)


def _directories(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


class _PlainNames:
    """Unique ISO 9660 names of level 3: at most 30 capitals, digits and underscores, and one dot."""

    def __init__(self) -> None:
        self._taken: dict[str, str] = {}
        self._made: dict[str, str] = {"": ""}

    def directory(self, path: str) -> str:
        return self._place(path, self._unique(path, lambda mark: f"{self._stem(path)[: 30 - len(mark)]}{mark}"))

    def file(self, path: str) -> str:
        stem, dot, extension = path.rsplit("/", 1)[-1].rpartition(".")
        if not dot:
            stem, extension = extension, ""
        short, end = self._clean(stem), self._clean(extension)[:8]
        name = self._unique(path, lambda mark: f"{short[: 29 - len(end) - len(mark)]}{mark}.{end}")
        return f"{self._place(path, name)};1"

    def _unique(self, path: str, name: t.Callable[[str], str]) -> str:
        parent = path.rpartition("/")[0]
        for number in range(_FILES_LIMIT):
            made = name(f"_{number}" if number else "")
            if self._taken.setdefault(f"{parent}/{made}", path) == path:
                return made
        raise ContextError("content_too_large", "There are too many files")

    def _place(self, path: str, name: str) -> str:
        made = f"{self._made[path.rpartition('/')[0]]}/{name}"
        self._made[path] = made
        return made

    def _stem(self, path: str) -> str:
        return self._clean(path.rsplit("/", 1)[-1])

    @staticmethod
    def _clean(text: str) -> str:
        return re.sub(r"[^A-Z0-9]", "_", text.upper()) or "_"


def read_image(octets: bytes, shown: str) -> Disk:
    """The disk in an image of whatever maker.

    Raises `ContextError` ``context_unreadable``.
    """
    import pycdlib

    iso = pycdlib.PyCdlib()
    try:
        iso.open_fp(io.BytesIO(octets))
        try:
            return _read(iso)
        finally:
            iso.close()
    except ContextError:
        raise
    # A damaged image makes pycdlib stumble in many ways, and each means the same to the reader.
    except Exception as error:
        raise ContextError(
            "context_unreadable",
            f"{shown} is not an ISO 9660 image that can be read: {type(error).__name__}",
            path=shown,
        ) from error


def _read(iso: pycdlib.PyCdlib) -> Disk:
    names, way = "iso9660", "iso_path"
    if iso.has_rock_ridge():
        names, way = "rock_ridge", "rr_path"
    elif iso.has_joliet():
        names, way = "joliet", "joliet_path"
    entries: dict[str, Entry] = {}
    for directory, _names, files in iso.walk(**{way: "/"}):
        for file in files:
            if len(entries) >= _FILES_LIMIT:
                raise ContextError("context_unreadable", f"There are more than {_FILES_LIMIT} files in the image")
            place = f"{directory.rstrip('/')}/{file}"
            entry = _entry(iso, way, place, names)
            if entry is not None:
                entries[_shown(place, names)] = entry
    label = iso.pvd.volume_identifier.decode("ascii", "replace").rstrip(" \0")
    return Disk(label=label, entries=entries, names=names, joliet=iso.has_joliet())


def _entry(iso: pycdlib.PyCdlib, way: str, place: str, names: str) -> t.Optional[Entry]:
    # What has Rock Ridge or Joliet names is a directory record; pycdlib's other kind is UDF's.
    record = t.cast("DirectoryRecord", iso.get_record(**{way: place}))
    mode = 0o555
    if names == "rock_ridge" and record.rock_ridge is not None:
        if record.rock_ridge.is_symlink():
            return None
        mode = record.rock_ridge.get_file_mode() & 0o7777
    into = io.BytesIO()
    iso.get_file_from_iso_fp(into, **{way: place})
    return Entry(octets=into.getvalue(), mode=mode)


def _shown(place: str, names: str) -> str:
    """The path as the guest sees it: of plain names Linux makes lower-case ones without the version."""
    path = place.lstrip("/")
    if names != "iso9660":
        return path
    return "/".join(part.split(";")[0].rstrip(".").lower() for part in path.split("/"))
