# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Argument specs shared by the modules, each the mirror of a doc fragment of the same name."""

from __future__ import annotations

import typing as t
from datetime import datetime, timedelta

from .._core.durations import parse_duration
from .._core.errors import SiteError

ArgumentSpec = dict[str, dict[str, t.Any]]

#: doc fragment hepix.vmimages.trust
TRUST: t.Final[ArgumentSpec] = {
    "anchors": {"type": "path", "default": "/etc/grid-security/certificates"},
    "crl_mode": {"type": "str", "choices": ["require", "if-present"], "default": "require"},
    "namespaces_mode": {"type": "str", "choices": ["require", "if-present"], "default": "require"},
    "allow_sha1": {"type": "bool", "default": False},
    "allow_host": {"type": "bool", "default": False},
}

#: doc fragment hepix.vmimages.access: secrets are files, named by their paths
ACCESS: t.Final[ArgumentSpec] = {
    "ca_path": {"type": "path"},
    "allow_private": {"type": "bool", "default": False},
    "credentials": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "no_log": False,
        "options": {
            "host": {"type": "str", "required": True},
            "token_file": {"type": "path", "no_log": False},
            "password_file": {"type": "path", "no_log": False},
            "certificate": {"type": "path"},
            "private_key": {"type": "path", "no_log": False},
        },
    },
    "proxy": {"type": "str"},
    "proxy_password_file": {"type": "path", "no_log": False},
    "no_proxy": {"type": "list", "elements": "str", "default": []},
}

#: doc fragment hepix.vmimages.catalogue
CATALOGUE: t.Final[ArgumentSpec] = {
    "state_dir": {"type": "path", "default": "/var/lib/hepix-vmimages"},
    "index": {"type": "path"},
}

#: doc fragment hepix.vmimages.signing
SIGNING: t.Final[ArgumentSpec] = {
    "title": {"type": "str"},
    "description": {"type": "str"},
    "metadata": {"type": "dict", "default": {}},
    "endorser": {
        "type": "dict",
        "options": {"name": {"type": "str"}, "email": {"type": "str"}, "metadata": {"type": "dict", "default": {}}},
    },
    "certificate": {"type": "path"},
    "private_key": {"type": "path", "no_log": False},
    "passphrase": {"type": "str", "no_log": True},
    "passphrase_file": {"type": "path", "no_log": False},
    "chain": {"type": "list", "elements": "path", "default": []},
    "digest": {"type": "str", "choices": ["sha256", "sha384", "sha512"], "default": "sha256"},
    "history_dir": {"type": "path", "required": True},
    "uploads": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "method": {
                "type": "str",
                "choices": ["local", "sftp", "scp", "webdav", "s3", "egiappdb"],
                "default": "local",
            },
            "uri_match": {"type": "str", "required": True},
            "uri_replace": {"type": "str", "required": True},
            "ssh_key": {"type": "path", "no_log": False},
            "ssh_known_hosts": {"type": "path"},
            "ssh_config": {"type": "path"},
            "client_certificate": {"type": "path"},
            "client_key": {"type": "path", "no_log": False},
            "token_file": {"type": "path", "no_log": False},
            "credentials_file": {"type": "path"},
            "ca_path": {"type": "path"},
            "endpoint": {"type": "str"},
            "region": {"type": "str"},
            "profile": {"type": "str"},
            "verify": {"type": "str", "choices": ["size", "sha512"], "default": "size"},
        },
    },
    "vmcaster_config": {"type": "path"},
}

#: formats in which a site wants disks
FORMATS: t.Final[dict[str, t.Any]] = {
    "type": "list",
    "elements": "str",
    "choices": ["raw", "qcow2", "vmdk", "vdi", "vhd"],
    "default": [],
}

#: who may sign a list: pairs of names, each pair in the slash form
ENDORSERS: t.Final[dict[str, t.Any]] = {
    "type": "list",
    "elements": "dict",
    "options": {"dn": {"type": "str", "required": True}, "ca": {"type": "str", "required": True}},
}

#: who may sign a subscribed list: pairs, or endorsers by name
SIGNERS: t.Final[dict[str, t.Any]] = {
    "type": "list",
    "elements": "dict",
    "options": {
        "dn": {"type": "str"},
        "ca": {"type": "str"},
        "name": {"type": "str"},
        "endorser_list": {"type": "str"},
    },
    "required_together": [("dn", "ca")],
    "mutually_exclusive": [("dn", "name"), ("dn", "endorser_list")],
    "required_one_of": [("dn", "name")],
}


def duration(params: t.Mapping[str, t.Any], option: str) -> timedelta:
    """The time span of an option that has a default; raises SiteError option_invalid."""
    try:
        return parse_duration(params[option])
    except ValueError as error:
        raise SiteError("option_invalid", f"{option}: {error}.", option=option) from None


def optional_duration(params: t.Mapping[str, t.Any], option: str) -> timedelta | None:
    """The option's time span, None when it is not given; raises SiteError option_invalid."""
    return None if params[option] is None else duration(params, option)


def timestamp(params: t.Mapping[str, t.Any], option: str) -> datetime | None:
    """The option's point in time, None when it is not given; raises SiteError option_invalid."""
    text = params[option]
    if text is None:
        return None
    from .._core.imagelist.fields import read_time

    when = read_time(text)
    if when is None:
        raise SiteError(
            "option_invalid",
            f"{option}: {text!r} is not a time; write it in UTC, such as 2027-01-31T00:00:00Z.",
            option=option,
        )
    return when
