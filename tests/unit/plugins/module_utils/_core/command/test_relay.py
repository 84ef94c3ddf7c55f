# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``vmimages relay`` and ``vmimages purge``: what a site does by itself for its nodes, and for its disk."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.command import relay
from ansible_collections.hepix.vmimages.plugins.modules import imagelist_relay

from .conftest import Call

IMAGE = "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"
RELAY = "0f0a4b3c-0a3c-4d8e-9a53-51d5e0b6c1f4"


@pytest.fixture
def configuration(site: t.Any) -> Path:
    signer = site.pki.issue("Image relay of the example site")
    options = {
        "identifier": RELAY,
        "title": "Images of the example site",
        "uri": f"{site.server}/site.list",
        "base_uri": f"{site.server}/images",
        "certificate": str(signer.certificate_path),
        "private_key": str(signer.key_path),
        "history_dir": str(site.work / "relayed"),
        "uploads": [{"uri_match": f"{site.server}/", "uri_replace": f"{site.www}/"}],
        **site.trust,
    }
    path = t.cast("Path", site.work / "relay.json")
    path.write_text(json.dumps(options))
    return path


def test_the_site_says_by_itself_what_may_run(site: t.Any, call: Call, configuration: Path) -> None:
    message = site.www / "site.list"
    code, out, _err = call("relay", "--config", str(configuration), "--check")
    assert (code, message.exists()) == (0, False)
    assert "would be published" in out
    code, out, _err = call("relay", "--config", str(configuration))
    assert code == 0 and IMAGE in out and message.exists()
    signed = message.read_bytes()
    code, out, _err = call("relay", "--config", str(configuration), "--json")
    assert (code, message.read_bytes()) == (0, signed)
    assert json.loads(out)["changed"] is False
    site.decide("blacklist")
    code, out, _err = call("relay", "--config", str(configuration))
    assert code == 0 and "No image may run now." in out
    assert message.read_bytes() != signed


def test_what_the_module_takes_is_what_the_command_takes() -> None:
    arguments = t.cast("dict[str, dict[str, t.Any]]", imagelist_relay.ARGUMENTS)
    assert set(arguments) - relay.OPTIONS == {"state_dir", "index", "passphrase", "vmcaster_config"}
    assert relay.OPTIONS - set(arguments) == set()
    required = {name for name, spec in arguments.items() if spec.get("required")}
    assert required <= relay.REQUIRED
    given = {name: spec.get("default") for name, spec in arguments.items()}
    assert {name: given[name] for name in relay.DEFAULTS} == relay.DEFAULTS


def test_what_root_imports_before_it_becomes_the_owner_is_there() -> None:
    relay._load()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"colour": "blue"}, "relay_invalid"),
        ({"base_uri": None}, "relay_invalid"),
        ({"lists": "all"}, "relay_invalid"),
        ({"identifier": "mine"}, "publish_invalid"),
    ],
    ids=["unknown", "missing", "type", "value"],
)
def test_a_wrong_option_is_refused_by_its_name(
    call: Call, configuration: Path, change: dict[str, t.Any], code: str
) -> None:
    given = {**json.loads(configuration.read_text()), **change}
    configuration.write_text(json.dumps({name: value for name, value in given.items() if value is not None}))
    answered, _out, err = call("relay", "--config", str(configuration))
    assert answered == 1
    assert f"{code}: " in err and next(iter(change)) in err


def test_what_is_no_configuration_is_refused(call: Call, configuration: Path) -> None:
    configuration.chmod(0o666)
    assert "settings_unsafe" in call("relay", "--config", str(configuration))[2]
    configuration.chmod(0o644)
    configuration.write_text("[]")
    assert "relay_invalid" in call("relay", "--config", str(configuration))[2]
    configuration.write_text("{")
    assert "relay_invalid" in call("relay", "--config", str(configuration))[2]
    configuration.unlink()
    assert "relay_unset" in call("relay", "--config", str(configuration))[2]


def test_a_purge_deletes_what_is_out_of_use_and_downloads_nothing(site: t.Any, call: Call) -> None:
    site.decide("blacklist")
    site.cache()
    expired = site.state_dir / "cache" / "expired"
    (held,) = expired.glob(f"{IMAGE}_*")
    # An image that is wanted and not there: a purge leaves that to others.
    assert call("purge", "--older", "1d")[1].strip() == "Nothing has been out of use for so long."
    code, out, _err = call("purge", "--older", "0s", "--check")
    assert code == 0 and out.splitlines()[1].split()[0] == "purge" and held.exists()
    assert call("purge", "--older", "0s")[0] == 0
    assert not held.exists()
    site.decide("approve")
    assert call("purge", "--older", "0s")[0] == 0
    assert list((site.state_dir / "cache" / "current").glob(f"{IMAGE}_*")) == []
