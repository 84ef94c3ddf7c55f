# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the endorser, or the VO, declares: a whole publication."""

from __future__ import annotations

import dataclasses
import typing as t
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from ...endorserlist.kinds import ENDORSER_LIST, IMAGE_LIST
from ...endorserlist.model import MEMBERS, VO
from ...imagelist.model import ENDORSER, IMAGES
from ...transfer.upload.base import Settings
from ...transfer.upload.rules import UploadRule
from ...trust.anchor_files import DEFAULT_ANCHORS
from ...trust.credentials.defaults import find
from .images import EXPIRES, ImageSpec, read_images
from .members import MemberSpec, read_members
from .metadata import read_metadata
from .options import (
    Options,
    check_uri,
    duration_in,
    invalid,
    optional_path,
    path_in,
    required,
    text_in,
    texts_in,
    uuid_in,
    version_in,
)
from .vmcaster import read_configuration

_TEXTS: t.Final = {"title": "dc:title", "description": "dc:description"}
#: kind -> option -> key of the list.
LIST_TEXTS: t.Final[t.Mapping[str, t.Mapping[str, str]]] = {
    IMAGE_LIST: {**_TEXTS, "source": "dc:source"},
    ENDORSER_LIST: {**_TEXTS, "vo": VO},
}
_LIST_KEYS: t.Final = frozenset({"dc:identifier", "dc:date:created", EXPIRES, "hv:version", "hv:uri", ENDORSER})

#: What is said of an endorser by options of its own, or by the certificate.
ENDORSER_KEYS: t.Final = frozenset({"hv:dn", "hv:ca", "dc:creator", "hv:email"})

_TRUST: t.Final = ("allow_sha1", "allow_host", "crl_mode", "namespaces_mode")


@dataclass(frozen=True)
class PublishSpec:
    """A whole publication of a list of one `kind`. `trust` are keyword arguments of `verify_message`; `keys` as in
    `ImageSpec`. Without `purge`, what is published and not declared stays. `profile`: see `entries.profile`. With
    `require_evidence` no image is published that nothing is shown for. `certificate` and `private_key` as in
    `trust.credentials.load`."""

    identifier: str
    uri: str
    certificate: str
    private_key: t.Optional[str]
    history_dir: Path
    anchors: Path
    lifetime: timedelta = timedelta(days=28)
    renew_before: timedelta = timedelta(days=7)
    version: t.Optional[str] = None
    endorser_name: t.Optional[str] = None
    endorser_email: t.Optional[str] = None
    endorser_keys: t.Mapping[str, t.Any] = field(default_factory=dict)
    keys: t.Mapping[str, t.Any] = field(default_factory=dict)
    kind: str = IMAGE_LIST
    images: tuple[ImageSpec, ...] = ()
    members: tuple[MemberSpec, ...] = ()
    purge: bool = True
    passphrase: t.Optional[bytes] = field(default=None, repr=False)
    passphrase_file: t.Optional[Path] = None
    chain: tuple[Path, ...] = ()
    digest: str = "sha256"
    uploads: tuple[UploadRule, ...] = ()
    trust: t.Mapping[str, t.Any] = field(default_factory=dict)
    profile: t.Optional[str] = None
    require_evidence: bool = False

    @classmethod
    def from_options(
        cls, options: Options, *, kind: str = IMAGE_LIST, environment: t.Optional[t.Mapping[str, str]] = None
    ) -> PublishSpec:
        """Check the options of ``imagelist_publish`` or, by `kind`, of ``endorserlist_publish``; those that are absent
        or None take their defaults. `environment` tells where certificate and key are, when no option does.

        Raises PublishError ``publish_invalid``.
        """
        lifetime = duration_in(options, "lifetime", "28d")
        passphrase = text_in(options, "passphrase")
        about_images = kind == IMAGE_LIST
        certificate, private_key = find(
            text_in(options, "certificate"), text_in(options, "private_key"), environment or {}
        )
        merge = options.get("purge_images" if about_images else "purge_endorsers") is False
        return cls(
            identifier=uuid_in(options, ""),
            uri=check_uri(required(options, "uri", ""), "uri"),
            certificate=certificate,
            private_key=private_key,
            history_dir=path_in(options, "history_dir"),
            anchors=Path(text_in(options, "anchors") or DEFAULT_ANCHORS),
            lifetime=lifetime,
            renew_before=min(duration_in(options, "renew_before", "7d"), lifetime / 2),
            version=version_in(options, ""),
            endorser_name=text_in(options.get("endorser") or {}, "name", "endorser"),
            endorser_email=text_in(options.get("endorser") or {}, "email", "endorser"),
            endorser_keys=read_metadata(
                (options.get("endorser") or {}).get("metadata"), "endorser.metadata", ENDORSER_KEYS
            ),
            kind=kind,
            keys=_keys(options, LIST_TEXTS[kind]),
            images=read_images(options, merge=merge) if about_images else (),
            members=() if about_images else read_members(options, merge=merge),
            purge=not merge,
            passphrase=passphrase.encode() if passphrase is not None else None,
            passphrase_file=optional_path(options, "passphrase_file"),
            chain=tuple(Path(item) for item in options.get("chain") or ()),
            digest=text_in(options, "digest") or "sha256",
            uploads=_uploads(options, Settings(client_certificate=certificate, client_key=private_key)),
            trust={name: options[name] for name in _TRUST if options.get(name) is not None},
            profile=text_in(options, "profile"),
            require_evidence=bool(options.get("require_evidence")),
        )


def _keys(options: Options, texts: t.Mapping[str, str]) -> dict[str, t.Any]:
    derived = frozenset({*_LIST_KEYS, *texts.values(), IMAGES, MEMBERS})
    return {**texts_in(options, texts, ""), **read_metadata(options.get("metadata"), "metadata", derived)}


def _uploads(options: Options, own: Settings) -> tuple[UploadRule, ...]:
    rules: list[UploadRule] = []
    for index, item in enumerate(options.get("uploads") or ()):
        option = f"uploads[{index}]"
        match, replacement = required(item, "uri_match", option), required(item, "uri_replace", option)
        try:
            rules.append(
                UploadRule(match, replacement, text_in(item, "method", option) or "local", _settings(item, option))
            )
        except ValueError as exc:
            raise invalid(option, str(exc).rstrip(".")) from None
    configuration = optional_path(options, "vmcaster_config")
    if configuration is not None:
        # vmcaster showed the endorser's own certificate to the AppDB.
        rules.extend(read_configuration(configuration, own))
    return tuple(rules)


def _settings(options: Options, option: str) -> Settings:
    given = {each.name: text_in(options, each.name, option) for each in dataclasses.fields(Settings)}
    return Settings(**{name: text for name, text in given.items() if text is not None})
