# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site's own list, composed from its catalogue and published as any endorser's: ``vmimages relay``, and the module.

A site signs what may run now; that needs the actors on both sides, which know nothing of each other.
"""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import typing as t
from datetime import datetime
from pathlib import Path

from .. import files
from ..endorser.declared.options import check_uri, invalid
from ..endorser.publish import ImageSpec, PublishSpec, publish
from ..errors import SiteError
from ..outcome import Outcome
from ..site.relay import EXPIRES, Relay, RelayedImage, relay
from ..site.store import preload
from ..site.store.catalogue import Catalogue
from ..site.store.state import StateDirectory, as_owner
from ..times import utc_now
from .line.output import emit, emit_json, emit_warnings, note_actions, table

if t.TYPE_CHECKING:
    import argparse

_MAX_OCTETS: t.Final = 64 * 1024

#: The options that a configuration must have, and those that it may have: those of the module imagelist_relay, but for
#: the catalogue, which the command names, and the passphrase, which has a file of its own.
REQUIRED: t.Final = frozenset({"identifier", "uri", "base_uri", "certificate", "history_dir"})
OPTIONS: t.Final = REQUIRED | {
    "allow_host",
    "allow_sha1",
    "anchors",
    "chain",
    "crl_mode",
    "description",
    "digest",
    "endorser",
    "images",
    "lifetime",
    "lists",
    "metadata",
    "namespaces_mode",
    "passphrase_file",
    "private_key",
    "renew_before",
    "source",
    "title",
    "uploads",
}
#: A node that does not reach the site any more goes on for at most this long.
DEFAULTS: t.Final[t.Mapping[str, t.Any]] = {"lifetime": "7d", "renew_before": "3d", "lists": [], "images": []}


def command(options: argparse.Namespace) -> int:
    """0 when the published list says what may run now."""
    state = StateDirectory.at(options.state_dir, index=options.index)
    given = read_configuration(Path(options.config), state.path)
    # As the owner: root must leave nothing behind that the service cannot write.
    with as_owner(state.path, load=_load):
        given = {**given, "state_dir": options.state_dir, "index": options.index}
        outcome = publish_relay(given, check=options.check, now=utc_now())
    note_actions(() if options.check else outcome.actions)
    if options.json:
        document = {**outcome.data, "changed": outcome.changed, "actions": outcome.actions}
        emit_json({**document, "warnings": outcome.warnings})
        return 0
    emit_warnings(outcome.warnings)
    rows = [(item["identifier"], item["list"], item["expires"]) for item in outcome.data["relayed"]]
    emit(*(table(("IMAGE", "FROM LIST", "EXPIRES"), rows) or ["No image may run now."]))
    version = outcome.data["list"]["version"]
    would = "would be" if options.check else "was"
    emit(f"Version {version} {would} published." if outcome.changed else f"Version {version} says so already.")
    return 0


def publish_relay(options: t.Mapping[str, t.Any], *, check: bool, now: datetime) -> Outcome:
    """Publish what may run now, as the catalogue says while no other run can publish this list.

    `options` are those of the module imagelist_relay. Raises PublishError, SiteError.
    """
    spec = PublishSpec.from_options({**options, "images": []}, environment=os.environ)
    base_uri = check_uri(options["base_uri"], "base_uri")
    if "?" in base_uri or "#" in base_uri:
        raise invalid("base_uri", "a query or a fragment cannot be followed by a file's name")
    found = Relay((), ())

    def images() -> tuple[ImageSpec, ...]:
        nonlocal found
        with Catalogue.open(options["state_dir"], index_path=options["index"]) as catalogue:
            found = relay(catalogue, base_uri=base_uri, lists=options["lists"], images=options["images"], now=now)
        return tuple(_declared(image) for image in found.images)

    published = publish(spec, check=check, now=now, images=images)
    return _with_origins(published, found)


def read_configuration(path: Path, state_dir: Path) -> dict[str, t.Any]:
    """The options in a JSON file that only root and the owner of the state may write.

    Raises SiteError ``relay_unset`` where there is none, ``relay_invalid`` for what is no configuration,
    ``settings_unsafe``, ``not_readable``.
    """
    try:
        found, octets = files.read(path, _MAX_OCTETS)
        owners = {0, os.geteuid(), state_dir.stat().st_uid}
    except FileNotFoundError as error:
        raise SiteError("relay_unset", f"There is no {error.filename or path}.", path=str(path)) from None
    except OSError as error:
        raise SiteError("not_readable", f"{path} cannot be read: {error.strerror}.", path=str(path)) from error
    except files.UnusableFileError as error:
        raise SiteError("relay_invalid", f"{path} cannot be used: {error}.", path=str(path)) from error
    if found.st_uid not in owners or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SiteError("settings_unsafe", f"{path} can be changed by others.", path=str(path))
    try:
        given = json.loads(octets.decode())
    except (ValueError, RecursionError) as error:
        raise SiteError("relay_invalid", f"{path} is not JSON: {error}.", path=str(path)) from error
    if not isinstance(given, dict):
        raise SiteError("relay_invalid", f"{path} is not a JSON object.", path=str(path))
    for text, names in (("is needed", REQUIRED - set(given)), ("is not known", set(given) - OPTIONS)):
        if names:
            raise SiteError("relay_invalid", f"{path}: {min(names)} {text}.", path=str(path), option=min(names))
    _check_names(path, given)
    return {**DEFAULTS, **given}


def _check_names(path: Path, given: t.Mapping[str, t.Any]) -> None:
    for name in ("lists", "images"):
        value = given.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise SiteError("relay_invalid", f"{path}: {name} is not a list of texts.", path=str(path), option=name)
    if not isinstance(given["base_uri"], str):
        raise SiteError("relay_invalid", f"{path}: base_uri is not a text.", path=str(path), option="base_uri")


def _load() -> None:
    """What publishing imports late, imported while root can read it (see `preload`)."""
    from ..endorser import history, published, signing  # noqa: F401
    from ..endorser.delivery import uploads  # noqa: F401
    from ..transfer.upload import local  # noqa: F401

    preload.everything()


def _declared(image: RelayedImage) -> ImageSpec:
    return ImageSpec(
        option=f"image {image.identifier}",
        identifier=image.identifier,
        uri=image.uri,
        size=image.size,
        sha512=image.sha512,
        version=image.version,
        keys=image.metadata,
        relayed=True,
    )


def _with_origins(published: Outcome, found: Relay) -> Outcome:
    data = {key: value for key, value in published.data.items() if key != "octets_read"}
    data["relayed"] = [
        {"identifier": image.identifier, "list": image.list_id, "expires": image.metadata.get(EXPIRES)}
        for image in found.images
    ]
    data["left_out"] = [
        {
            "identifier": known.image_id,
            "list": known.list_id,
            "version": known.facts.version,
            "code": known.verdict.code,
        }
        for known in found.left_out
    ]
    return dataclasses.replace(published, data=data)
