# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the endorser declares: the options of a publication, checked one by one.

A wrong option is refused as ``publish_invalid`` with its path, as in ``images[3].uri``.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from ..durations import parse_duration
from ..errors import PublishError
from ..imagelist.fields import read_time, read_uuid
from ..imagelist.model import CHECKSUM, ENDORSER, IMAGES
from ..imagelist.versions import is_version
from ..times import to_text
from ..transfer.upload.base import Settings
from ..transfer.upload.rules import UploadRule
from ..trust.anchors import DEFAULT_ANCHORS
from .metadata import read_metadata
from .vmcaster import read_configuration

Options = t.Mapping[str, t.Any]

#: option -> key of the list.
LIST_TEXTS: t.Final[t.Mapping[str, str]] = {
    "title": "dc:title",
    "description": "dc:description",
    "source": "dc:source",
}
#: option -> key of an image.
IMAGE_TEXTS: t.Final[t.Mapping[str, str]] = {
    "title": "dc:title",
    "description": "dc:description",
    "arch": "sl:arch",
    "os": "sl:os",
    "osversion": "sl:osversion",
    "hypervisor": "hv:hypervisor",
    "comments": "sl:comments",
}
FORMAT: t.Final = "hv:format"
EXPIRES: t.Final = "dc:date:expires"

_LIST_KEYS: t.Final = frozenset(
    {*LIST_TEXTS.values(), "dc:identifier", "dc:date:created", EXPIRES, "hv:version", "hv:uri", ENDORSER, IMAGES}
)
_IMAGE_KEYS: t.Final = frozenset(
    {*IMAGE_TEXTS.values(), FORMAT, EXPIRES, "dc:identifier", "hv:version", "hv:uri", "hv:size", f"{CHECKSUM}sha512"}
)

_PLACEHOLDER: t.Final = re.compile(r"\{([^{}]*)\}")
_PLACEHOLDERS: t.Final = frozenset({"identifier", "version", "sha512"})
_URI: t.Final = re.compile(r"""[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20"<>\\^`{|}\x7f-\U0010ffff]+""")
_PASSWORD: t.Final = re.compile(r"[^/]+://[^/?#@]*:[^/?#]*@")
_SHA512: t.Final = re.compile(r"[0-9a-f]{128}")
_FORMAT: t.Final = re.compile(r"(raw|qcow2|vmdk|vdi|ova|vhd|vpc|tar)(\.(gz|bz2|xz|zst))?", re.IGNORECASE)
_LARGEST: t.Final = 10**18 - 1
_TRUST: t.Final = ("allow_sha1", "allow_host", "crl_mode", "namespaces_mode")


@dataclass(frozen=True)
class ImageSpec:
    """One declared image. `option` is its path among the options; what was not given is None or absent in `keys`.

    `keys` are list keys from the options and from `metadata`; None as a value removes the key. With `relayed`, the
    image is somebody else's, whose version of it is stated as it is, even when it has gone back.
    """

    option: str
    identifier: str
    path: t.Optional[Path] = None
    uri: t.Optional[str] = None
    size: t.Optional[int] = None
    sha512: t.Optional[str] = None
    version: t.Optional[str] = None
    keys: t.Mapping[str, t.Any] = field(default_factory=dict)
    relayed: bool = False


@dataclass(frozen=True)
class PublishSpec:
    """A whole publication. `trust` are keyword arguments of `verify_message`; `keys` as in `ImageSpec`."""

    identifier: str
    uri: str
    certificate: Path
    private_key: Path
    history_dir: Path
    anchors: Path
    lifetime: timedelta = timedelta(days=28)
    renew_before: timedelta = timedelta(days=7)
    version: t.Optional[str] = None
    endorser_name: t.Optional[str] = None
    endorser_email: t.Optional[str] = None
    keys: t.Mapping[str, t.Any] = field(default_factory=dict)
    images: tuple[ImageSpec, ...] = ()
    purge_images: bool = True
    passphrase: t.Optional[bytes] = field(default=None, repr=False)
    passphrase_file: t.Optional[Path] = None
    chain: tuple[Path, ...] = ()
    digest: str = "sha256"
    uploads: tuple[UploadRule, ...] = ()
    trust: t.Mapping[str, t.Any] = field(default_factory=dict)

    @classmethod
    def from_options(cls, options: Options) -> PublishSpec:
        """Check the options of ``imagelist_publish``; those that are absent or None take their defaults.

        Raises PublishError ``publish_invalid``.
        """
        lifetime = _duration(options, "lifetime", "28d")
        passphrase = _text(options, "passphrase")
        merge = options.get("purge_images") is False
        return cls(
            identifier=_uuid(options, ""),
            uri=check_uri(_required(options, "uri", ""), "uri"),
            certificate=_path(options, "certificate"),
            private_key=_path(options, "private_key"),
            history_dir=_path(options, "history_dir"),
            anchors=Path(_text(options, "anchors") or DEFAULT_ANCHORS),
            lifetime=lifetime,
            renew_before=min(_duration(options, "renew_before", "7d"), lifetime / 2),
            version=_version(options, ""),
            endorser_name=_text(options.get("endorser") or {}, "name", "endorser"),
            endorser_email=_text(options.get("endorser") or {}, "email", "endorser"),
            keys={**_texts(options, LIST_TEXTS, ""), **read_metadata(options.get("metadata"), "metadata", _LIST_KEYS)},
            images=_images(options, merge=merge),
            purge_images=not merge,
            passphrase=passphrase.encode() if passphrase is not None else None,
            passphrase_file=_optional_path(options, "passphrase_file"),
            chain=tuple(Path(item) for item in options.get("chain") or ()),
            digest=_text(options, "digest") or "sha256",
            uploads=_uploads(options),
            trust={name: options[name] for name in _TRUST if options.get(name) is not None},
        )


def invalid(option: str, what: str) -> PublishError:
    """The refusal of an option."""
    return PublishError("publish_invalid", f"{option}: {what}.", option=option)


def expand_uri(template: str, values: t.Mapping[str, str]) -> str:
    """The address with its placeholders ``{identifier}``, ``{version}`` and ``{sha512}`` filled in."""
    return _PLACEHOLDER.sub(lambda found: values[found.group(1)], template)


def _images(options: Options, *, merge: bool) -> tuple[ImageSpec, ...]:
    if options.get("images") is None and not merge:
        raise invalid("images", "name the list's images, or [] for a list without any, or set purge_images to false")
    images: list[ImageSpec] = []
    seen: dict[str, str] = {}
    for index, item in enumerate(options.get("images") or ()):
        image = _image(item, f"images[{index}]")
        first = seen.setdefault(image.identifier, image.option)
        if first != image.option:
            raise invalid(f"{image.option}.identifier", f"{image.identifier} is that of {first} already")
        if not merge:
            _check_complete(image)
        images.append(image)
    return tuple(images)


def _check_complete(image: ImageSpec) -> None:
    """What only a published image may leave out; said before any octet is read."""
    if image.uri is None:
        raise invalid(f"{image.option}.uri", "this is missing")
    if image.path is None and (image.size is None or image.sha512 is None):
        missing = "sha512" if image.sha512 is None else "size"
        raise invalid(f"{image.option}.{missing}", "this is missing; give path, or size and sha512")


def _image(options: Options, option: str) -> ImageSpec:
    uri = _text(options, "uri", option)
    if uri is not None:
        for name in _PLACEHOLDER.findall(uri):
            if name not in _PLACEHOLDERS:
                raise invalid(f"{option}.uri", f"the placeholder {{{name}}} is unknown")
        check_uri(_PLACEHOLDER.sub("x", uri), f"{option}.uri")
    keys = _texts(options, IMAGE_TEXTS, option)
    return ImageSpec(
        option=option,
        identifier=_uuid(options, option),
        path=_optional_path(options, "path"),
        uri=uri,
        size=_size(options, option),
        sha512=_sha512(options, option),
        version=_version(options, option),
        keys={
            **keys,
            **_format(options, option),
            **_expires(options, option),
            **read_metadata(options.get("metadata"), f"{option}.metadata", _IMAGE_KEYS),
        },
    )


def _uploads(options: Options) -> tuple[UploadRule, ...]:
    rules: list[UploadRule] = []
    for index, item in enumerate(options.get("uploads") or ()):
        option = f"uploads[{index}]"
        match, replacement = _required(item, "uri_match", option), _required(item, "uri_replace", option)
        try:
            rules.append(
                UploadRule(match, replacement, _text(item, "method", option) or "local", _settings(item, option))
            )
        except ValueError as exc:
            raise invalid(option, str(exc).rstrip(".")) from None
    configuration = _optional_path(options, "vmcaster_config")
    if configuration is not None:
        # vmcaster showed the endorser's own certificate to the AppDB.
        own = Settings(client_certificate=_text(options, "certificate"), client_key=_text(options, "private_key"))
        rules.extend(read_configuration(configuration, own))
    return tuple(rules)


def _settings(options: Options, option: str) -> Settings:
    given = {each.name: _text(options, each.name, option) for each in dataclasses.fields(Settings)}
    return Settings(**{name: text for name, text in given.items() if text is not None})


def _texts(options: Options, table: t.Mapping[str, str], option: str) -> dict[str, str]:
    found = {key: _text(options, name, option) for name, key in table.items()}
    return {key: text for key, text in found.items() if text is not None}


def _format(options: Options, option: str) -> dict[str, t.Optional[str]]:
    text = _text(options, "format", option)
    if text is None:
        return {}
    if text and not _FORMAT.fullmatch(text):
        known = "raw, qcow2, vmdk, vdi, ova, vhd, vpc or tar, with .gz, .bz2, .xz or .zst where compressed"
        raise invalid(f"{option}.format", f"{text!a} is not {known}")
    return {FORMAT: text or None}


def _expires(options: Options, option: str) -> dict[str, t.Optional[str]]:
    text = _text(options, "expires", option)
    if text is None:
        return {}
    moment = read_time(text)
    if text and moment is None:
        raise invalid(f"{option}.expires", f"{text!a} is not a time as 2027-01-31T00:00:00Z")
    return {EXPIRES: to_text(moment) if moment else None}


def _size(options: Options, option: str) -> t.Optional[int]:
    size = options.get("size")
    if size is None:
        return None
    if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= _LARGEST:
        raise invalid(f"{option}.size", f"{str(size)[:40]!a} is not a positive number of octets")
    return size


def _sha512(options: Options, option: str) -> t.Optional[str]:
    text = _text(options, "sha512", option)
    if text is None:
        return None
    digest = text.lower()
    if not _SHA512.fullmatch(digest):
        raise invalid(f"{option}.sha512", "this is not 128 hexadecimal digits")
    return digest


def _uuid(options: Options, option: str) -> str:
    text = _required(options, "identifier", option)
    uuid = read_uuid(text)
    if uuid is None:
        raise invalid(_join(option, "identifier"), f"{text[:60]!a} is not a UUID")
    return uuid


def _version(options: Options, option: str) -> t.Optional[str]:
    text = _text(options, "version", option)
    if text is not None and not is_version(text):
        what = "is not a version: letters and digits, with single dots or hyphens between them"
        raise invalid(_join(option, "version"), f"{text[:60]!a} {what}")
    return text


def check_uri(uri: str, option: str) -> str:
    """The address, when a published list may hold it. Raises PublishError ``publish_invalid``."""
    if not _URI.fullmatch(uri):
        raise invalid(
            option, f"{uri[:80]!a} is not an address of printable ASCII characters, such as https://host/name"
        )
    if _PASSWORD.match(uri):
        raise invalid(option, "the address holds a password, and a published list is read by everybody")
    return uri


def _duration(options: Options, name: str, default: str) -> timedelta:
    try:
        duration = parse_duration(_text(options, name) or default)
    except ValueError as exc:
        raise invalid(name, str(exc).rstrip(".")) from None
    if name == "lifetime" and not duration:
        raise invalid(name, "a list of no lifetime is expired when it is signed")
    return duration


def _path(options: Options, name: str) -> Path:
    return Path(_required(options, name, ""))


def _optional_path(options: Options, name: str) -> t.Optional[Path]:
    return Path(options[name]) if options.get(name) else None


def _required(options: Options, name: str, option: str) -> str:
    text = _text(options, name, option)
    if not text:
        raise invalid(_join(option, name), "this is missing")
    return text


def _text(options: Options, name: str, option: str = "") -> t.Optional[str]:
    value = options.get(name)
    if value is None:
        return None
    if not isinstance(value, (str, Path)):
        raise invalid(_join(option, name), "this is not a text")
    text = str(value)
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise invalid(_join(option, name), "this holds a character that a list cannot hold")
    return text


def _join(option: str, name: str) -> str:
    return f"{option}.{name}" if option else name
