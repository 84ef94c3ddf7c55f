# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a context disk shall hold, checked as far as that needs no file: flavours, label, names, the payload's user."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ...errors import ContextError

#: flavour -> the labels by which its readers find the disk; none means that they look at every disk.
LABELS: t.Final[t.Mapping[str, tuple[str, ...]]] = {
    "hepix": (),
    "amiconfig": (),
    "opennebula": ("CONTEXT",),
    "nocloud": ("cidata", "CIDATA"),
    "configdrive": ("config-2", "CONFIG-2"),
}
DEFAULT_LABEL: t.Final = "CONTEXT"
DEFAULT_FLAVOURS: t.Final = ("hepix", "opennebula")

#: The scripts of the book, and the name each has on the disk.
SCRIPTS: t.Final[t.Mapping[str, str]] = {
    "prolog": "prolog.sh",
    "epilog": "epilog.sh",
    "init": "init.sh",
    "payload": "payload.sh",
}
#: Flavours whose readers know ``context.sh``, scripts and files.
SHELL_FLAVOURS: t.Final = frozenset({"hepix", "amiconfig", "opennebula"})
_LABEL: t.Final = re.compile(r"[A-Za-z0-9_.-]{1,16}")
_IDENTIFIER: t.Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_HOSTNAME: t.Final = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
_USER: t.Final = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_SYSTEM_USERS: t.Final = frozenset({"root", "toor", "bin", "daemon", "sys", "adm", "sudo", "wheel"})
_KEY: t.Final = re.compile(r"[^\x00-\x1f\x7f]+")

Items = tuple[t.Mapping[str, t.Any], ...]


@dataclass(frozen=True)
class ContextSpec:
    """One context disk, as asked for. Items of content are mappings with one of src, content, content_base64, url."""

    label: str
    flavours: tuple[str, ...]
    instance_id: t.Optional[str]
    hostname: t.Optional[str]
    variables: t.Mapping[str, t.Any]
    secret_variables: t.Mapping[str, str]
    scripts: t.Mapping[str, t.Mapping[str, t.Any]]
    files: Items
    packages: tuple[str, ...]
    user_data: t.Union[str, t.Mapping[str, t.Any], None]
    user_data_src: t.Optional[str]
    meta_data: t.Mapping[str, t.Any]
    vendor_data: t.Union[str, t.Mapping[str, t.Any], None]
    network_config: t.Union[str, t.Mapping[str, t.Any], None]
    ssh_authorized_keys: tuple[str, ...]
    payload_user: t.Optional[str]
    ttl_hours: t.Optional[int]
    source_date: int

    @classmethod
    def from_options(cls, options: t.Mapping[str, t.Any]) -> ContextSpec:
        """Check the module's options. Raises `ContextError`: the codes of the checks below, and ``option_invalid``."""
        flavours = tuple(dict.fromkeys(_given(options, "flavours", DEFAULT_FLAVOURS)))
        return cls(
            label=choose_label(options.get("label"), flavours),
            flavours=flavours,
            instance_id=_matching(options, "instance_id", _IDENTIFIER, "an identifier of letters, digits and _ . : -"),
            hostname=_matching(options, "hostname", _HOSTNAME, "a host name"),
            variables=_given(options, "variables", {}),
            secret_variables=_given(options, "secret_variables", {}),
            scripts=_scripts(_given(options, "scripts", {})),
            files=tuple(_given(options, "files", ())),
            packages=tuple(_given(options, "packages", ())),
            user_data=_document(options, "user_data"),
            user_data_src=options.get("user_data_src"),
            meta_data=_given(options, "meta_data", {}),
            vendor_data=_document(options, "vendor_data"),
            network_config=_document(options, "network_config"),
            ssh_authorized_keys=_keys(_given(options, "ssh_authorized_keys", ())),
            payload_user=check_payload_user(options.get("payload_user")),
            ttl_hours=_ttl(options.get("ttl_hours")),
            source_date=_date(options.get("source_date") or 0),
        )


def choose_label(label: t.Optional[str], flavours: t.Sequence[str]) -> str:
    """The disk's label. Raises `ContextError`: ``flavours_conflict`` names two flavours that cannot share a disk."""
    for flavour in flavours:
        if flavour not in LABELS:
            raise ContextError("option_invalid", f"flavours: {flavour[:40]!r} is none of {', '.join(LABELS)}")
    if not flavours:
        raise ContextError("option_invalid", "flavours: at least one is needed")
    wanting = [flavour for flavour in flavours if LABELS[flavour]]
    for flavour in wanting[1:]:
        if LABELS[flavour] != LABELS[wanting[0]]:
            raise ContextError(
                "flavours_conflict",
                f"flavours: readers of {wanting[0]} look for the label {LABELS[wanting[0]][0]}, "
                f"those of {flavour} for {LABELS[flavour][0]}",
            )
    accepted = LABELS[wanting[0]] if wanting else ()
    if label is None:
        return accepted[0] if accepted else DEFAULT_LABEL
    if not _LABEL.fullmatch(label):
        raise ContextError("label_invalid", f"label: {label[:40]!r} cannot be one")
    if accepted and label not in accepted:
        raise ContextError(
            "label_invalid", f"label: readers of {wanting[0]} look for {' or '.join(accepted)}, not for {label}"
        )
    return label


def check_payload_user(user: t.Optional[str], where: str = "payload_user") -> t.Optional[str]:
    """The payload's user. Raises `ContextError` ``payload_user_refused`` for root, system users and numbers."""
    if user is None:
        return None
    if user in _SYSTEM_USERS or not _USER.fullmatch(user):
        raise ContextError("payload_user_refused", f"{where}: {user[:40]!r} is not the name of an ordinary user")
    return user


def _given(options: t.Mapping[str, t.Any], name: str, default: t.Any) -> t.Any:
    value = options.get(name)
    return default if value is None else value


def _matching(options: t.Mapping[str, t.Any], name: str, pattern: re.Pattern[str], what: str) -> t.Optional[str]:
    value = options.get(name)
    if value is not None and not pattern.fullmatch(value):
        raise ContextError("option_invalid", f"{name}: {value[:60]!r} is not {what}")
    return t.cast("t.Optional[str]", value)


def _scripts(scripts: t.Mapping[str, t.Any]) -> dict[str, t.Mapping[str, t.Any]]:
    return {name: item for name, item in scripts.items() if item is not None}


def _document(options: t.Mapping[str, t.Any], name: str) -> t.Any:
    value = options.get(name)
    if value is not None and not isinstance(value, (str, t.Mapping)):
        raise ContextError("option_invalid", f"{name}: neither a text nor a mapping")
    return value


def _keys(keys: t.Sequence[str]) -> tuple[str, ...]:
    for number, key in enumerate(keys):
        if not _KEY.fullmatch(key):
            raise ContextError("option_invalid", f"ssh_authorized_keys[{number}]: not one line")
        if "PRIVATE KEY" in key:
            raise ContextError(
                "option_invalid", f"ssh_authorized_keys[{number}]: a private key, the public one is meant"
            )
    return tuple(keys)


def _ttl(hours: t.Optional[int]) -> t.Optional[int]:
    if hours is not None and not 0 < hours <= 100_000:
        raise ContextError("option_invalid", f"ttl_hours: {hours} is not a number of hours")
    return hours


def _date(seconds: int) -> int:
    # The year of a directory record is an octet counted from 1900, and stays what every reader takes until 2037.
    if not 0 <= seconds < 2**31:
        raise ContextError("option_invalid", f"source_date: {seconds} is not a number of seconds since 1970 that fits")
    return seconds
