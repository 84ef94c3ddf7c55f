# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of the flavours nocloud and configdrive, as cloud-init and its relatives read them.

Mappings are written as JSON, which is YAML as well, with sorted keys: the same on every host.
"""

from __future__ import annotations

import json
import typing as t

from ....errors import ContextError
from ..spec import ContextSpec
from .content import Sources

_NO_INSTANCE: t.Final = "hepix-vmimages"


def user_data_octets(spec: ContextSpec, sources: Sources) -> t.Optional[bytes]:
    """The user data: a text as it is, a mapping as cloud-config, or a file.

    Raises `ContextError` ``option_invalid``.
    """
    if spec.user_data is not None and spec.user_data_src is not None:
        raise ContextError("option_invalid", "user_data: user_data_src is given as well")
    if spec.user_data_src is not None:
        return sources.read_file(spec.user_data_src, "user_data_src")
    return None if spec.user_data is None else _cloud_config(spec.user_data)


def cloud_files(spec: ContextSpec, user_data: t.Optional[bytes]) -> dict[str, bytes]:
    """path -> octets of the files that the flavours add. Raises `ContextError` ``option_invalid``."""
    files: dict[str, bytes] = {}
    if "nocloud" in spec.flavours:
        files.update(_nocloud(spec, user_data))
    if "configdrive" in spec.flavours:
        files.update(_configdrive(spec, user_data))
    return files


def _nocloud(spec: ContextSpec, user_data: t.Optional[bytes]) -> dict[str, bytes]:
    own: dict[str, t.Any] = {"instance-id": spec.instance_id or _NO_INSTANCE}
    if spec.hostname is not None:
        own["local-hostname"] = spec.hostname
    if spec.ssh_authorized_keys:
        own["public-keys"] = list(spec.ssh_authorized_keys)
    # Both files must be there for the disk to be one, if only empty.
    files = {"meta-data": _json({**own, **spec.meta_data}), "user-data": user_data or b"#cloud-config\n{}\n"}
    if spec.vendor_data is not None:
        files["vendor-data"] = _cloud_config(spec.vendor_data)
    if spec.network_config is not None:
        config = spec.network_config
        files["network-config"] = config.encode() if isinstance(config, str) else _json(config)
    return files


def _configdrive(spec: ContextSpec, user_data: t.Optional[bytes]) -> dict[str, bytes]:
    own: dict[str, t.Any] = {"uuid": spec.instance_id or _NO_INSTANCE}
    if spec.hostname is not None:
        own.update(hostname=spec.hostname, name=spec.hostname.split(".")[0])
    if spec.ssh_authorized_keys:
        own["public_keys"] = {f"key-{number}": key for number, key in enumerate(spec.ssh_authorized_keys)}
    files = {"openstack/latest/meta_data.json": _json({**own, **spec.meta_data})}
    if user_data is not None:
        files["openstack/latest/user_data"] = user_data
    if spec.vendor_data is not None:
        text = _cloud_config(spec.vendor_data).decode()
        files["openstack/latest/vendor_data.json"] = _json({"cloud-init": text})
    return files


def _cloud_config(data: t.Union[str, t.Mapping[str, t.Any]]) -> bytes:
    return data.encode("utf-8", "surrogateescape") if isinstance(data, str) else b"#cloud-config\n" + _json(data)


def _json(data: t.Mapping[str, t.Any]) -> bytes:
    try:
        return (json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
    except (TypeError, ValueError, UnicodeError):
        raise ContextError("option_invalid", "meta_data, user_data or network_config hold what JSON cannot") from None
