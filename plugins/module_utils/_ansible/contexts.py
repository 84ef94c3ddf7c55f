# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a context disk: of context_iso, and of the disks that image_instance makes with its instances."""

from __future__ import annotations

import typing as t

from .arguments import ArgumentSpec
from .items import checked

FLAVOURS: t.Final = ["hepix", "amiconfig", "opennebula", "nocloud", "configdrive"]

CONTENT: t.Final[ArgumentSpec] = {
    "src": {"type": "path"},
    "content": {"type": "str"},
    "content_base64": {"type": "str"},
    "url": {"type": "str"},
    "checksum": {"type": "str"},
    # Whether it is a secret is none.
    "secret": {"type": "bool", "default": False, "no_log": False},
}

CONTEXT_ISO: t.Final[ArgumentSpec] = {
    "dest": {"type": "path"},
    "isos": {"type": "list", "elements": "dict"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "flavours": {"type": "list", "elements": "str", "choices": FLAVOURS},
    "label": {"type": "str"},
    "also": {
        "type": "list",
        "elements": "dict",
        "options": {
            "dest": {"type": "path", "required": True},
            "flavours": {"type": "list", "elements": "str", "choices": FLAVOURS, "required": True},
            "label": {"type": "str"},
        },
    },
    "instance_id": {"type": "str"},
    "hostname": {"type": "str"},
    "variables": {"type": "dict"},
    # Paths of the files that hold the secrets.
    "secret_variables": {"type": "dict", "no_log": False},
    "scripts": {
        "type": "dict",
        "options": {name: {"type": "dict", "options": CONTENT} for name in ("prolog", "epilog", "init", "payload")},
    },
    "files": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str"},
            "target": {"type": "str"},
            "mode": {"type": "str"},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "root"},
            **CONTENT,
        },
    },
    "packages": {"type": "list", "elements": "path"},
    "user_data": {"type": "raw"},
    "user_data_src": {"type": "path"},
    "meta_data": {"type": "dict"},
    "vendor_data": {"type": "raw"},
    "network_config": {"type": "raw"},
    "ssh_authorized_keys": {"type": "list", "elements": "str", "no_log": False},
    "payload_user": {"type": "str"},
    "ttl_hours": {"type": "int"},
    "restrict": {"type": "str", "choices": ["enforce", "warn", "off"], "default": "enforce"},
    "safe_sources": {"type": "list", "elements": "path"},
    "source_date": {"type": "int", "default": 0},
    "mode": {"type": "str", "default": "0600"},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "ca_path": {"type": "path"},
}

#: What is decided for a disk that comes with an instance.
_NOT_OURS: t.Final = ("dest", "isos", "also", "state", "ca_path")


def with_checked_contexts(item: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The options of an instance, each of its context disks checked as an option of context_iso.

    Raises SiteError ``option_invalid``.
    """
    contexts = []
    for number, context in enumerate(item.get("contexts") or ()):
        iso = context.get("iso")
        if iso is not None:
            spec = {key: value for key, value in CONTEXT_ISO.items() if key not in _NOT_OURS}
            iso = checked(iso, spec, f"{item.get('name')}: contexts[{number}].iso")
        contexts.append({**context, "iso": iso})
    return {**item, "contexts": contexts}
