# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a module's real main(); and an endorser, a web server and a site, small and real, to run it against."""

from __future__ import annotations

import importlib
import json
import typing as t
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.common import warnings as ansible_warnings
from ansible.module_utils.testing import patch_module_args
from hypothesis import HealthCheck, settings

# How long an example takes says something about the machine, and nothing about what is tested.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

MODULES = "ansible_collections.hepix.vmimages.plugins.modules"
LIST = "5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3"
IMAGE = "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"
OTHER_IMAGE = "e0f7a6f0-62c8-4b6e-8f56-7f2d6f0f7d11"

#: What Ansible itself adds to a result.
ANSIBLES_OWN = frozenset({"changed", "failed", "diff", "invocation", "warnings", "msg", "exception"})


@dataclass(frozen=True)
class Result:
    """The module's answer; `text` is all that it wrote."""

    data: dict[str, t.Any]
    text: str

    def __getitem__(self, key: str) -> t.Any:
        return self.data[key]

    @property
    def failed(self) -> bool:
        return bool(self.data.get("failed"))

    @property
    def warnings(self) -> list[str]:
        """The sentences of its warnings."""
        found = self.data.get("warnings", [])
        return [warning if isinstance(warning, str) else warning["event"]["msg"] for warning in found]


RunModule = Callable[..., Result]


@pytest.fixture
def run_module(capfd: pytest.CaptureFixture[str]) -> RunModule:
    """`run_module(main, options, check=False, diff=True)` -> Result."""

    def run(
        main: Callable[[], t.NoReturn], options: t.Mapping[str, t.Any], *, check: bool = False, diff: bool = True
    ) -> Result:
        # A module is a process of its own to Ansible, and collects its warnings per process.
        ansible_warnings._global_warnings.clear()
        capfd.readouterr()
        arguments = {**options, "_ansible_check_mode": check, "_ansible_diff": diff}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            main()
        text = capfd.readouterr().out
        return Result(data=json.loads(text), text=text)

    return run


@dataclass
class Bench:
    """Runs modules by name: `bench.run("image_info")` with the options of this endorser and this site."""

    pki: t.Any
    www: Path
    work: Path
    server: str
    run_module: Callable[..., t.Any]

    @property
    def state_dir(self) -> Path:
        return self.work / "state"

    @property
    def history_dir(self) -> Path:
        return self.work / "history"

    @property
    def message(self) -> Path:
        return self.www / "images.list"

    @property
    def uri(self) -> str:
        return f"{self.server}/images.list"

    @property
    def trust(self) -> dict[str, t.Any]:
        return {"anchors": str(self.pki.certificates)}

    def image(self, identifier: str = IMAGE, octets: bytes = b"an image" * 512, **more: t.Any) -> dict[str, t.Any]:
        """The publishing options of an image whose file is written now."""
        path = self.work / f"{identifier}.img"
        path.write_bytes(octets)
        return {
            "identifier": identifier,
            "path": str(path),
            "uri": f"{self.server}/{{identifier}}-{{version}}.img",
            "title": "worker" if identifier == IMAGE else f"image {identifier[:4]}",
            **more,
        }

    def publishing(self, *images: t.Mapping[str, t.Any], **more: t.Any) -> dict[str, t.Any]:
        """Options of imagelist_publish."""
        return {
            "identifier": LIST,
            "title": "Worker nodes",
            "description": "Images of the bench.",
            "source": "example.org",
            "uri": self.uri,
            "images": list(images),
            "certificate": str(self.pki.endorser.certificate_path),
            "private_key": str(self.pki.endorser.key_path),
            "history_dir": str(self.history_dir),
            "uploads": [{"uri_match": f"{self.server}/", "uri_replace": f"{self.www}/"}],
            **self.trust,
            **more,
        }

    def subscription(self, **more: t.Any) -> dict[str, t.Any]:
        """Options of imagelist_subscribe."""
        return {
            "uri": self.uri,
            "identifier": LIST,
            "endorsers": [{"dn": self.pki.endorser.dn, "ca": self.pki.endorser.ca}],
            "ca_path": str(self.pki.tls / "ca.pem"),
            "allow_private": True,
            "state_dir": str(self.state_dir),
            **self.trust,
            **more,
        }

    def run(self, name: str, options: t.Mapping[str, t.Any] | None = None, **how: t.Any) -> t.Any:
        """Run a module through its main(); options that are not given are those of an empty call."""
        module = importlib.import_module(f"{MODULES}.{name}")
        chosen = {"state_dir": str(self.state_dir)} if options is None else options
        result = self.run_module(module.main, chosen, **how)
        assert result.failed or undocumented(module, result.data) == []
        return result

    def done(self, name: str, options: t.Mapping[str, t.Any] | None = None, **how: t.Any) -> t.Any:
        """Like `run`, for a call that must succeed."""
        result = self.run(name, options, **how)
        assert not result.failed, result["msg"]
        return result

    def publish(self, *images: t.Mapping[str, t.Any], **more: t.Any) -> t.Any:
        """Publish a list; without images given, one of one image."""
        return self.done("imagelist_publish", self.publishing(*(images or (self.image(),)), **more))

    def subscribe(self, **more: t.Any) -> t.Any:
        """Subscribe to the published list."""
        return self.done("imagelist_subscribe", self.subscription(**more))

    def decide(self, decision: str = "approve", **more: t.Any) -> t.Any:
        """Decide about the image."""
        target = {} if "tags" in more else {"images": [IMAGE]}
        return self.done("image_decision", {"decision": decision, "state_dir": str(self.state_dir), **target, **more})

    def cache(self, **more: t.Any) -> t.Any:
        """Bring the cache up to date; may fail."""
        return self.run("image_cache", {"state_dir": str(self.state_dir), **more})

    def verdict(self) -> dict[str, t.Any]:
        """The verdict on the image."""
        answer = self.done("image_info", {"state_dir": str(self.state_dir), "images": [IMAGE]})
        return t.cast("dict[str, t.Any]", answer["images"][0]["verdict"])

    def everything(self) -> dict[str, bytes]:
        """Every file of the state directory except the derived index: what must not change."""
        return {
            str(path.relative_to(self.state_dir)): path.read_bytes()
            for path in sorted(self.state_dir.rglob("*"))
            if path.is_file() and not path.name.startswith("catalogue.sqlite")
        }


@pytest.fixture
def bench(pki: t.Any, demo_server: t.Any, run_module: Callable[..., t.Any], tmp_path: Path) -> Iterator[Bench]:
    """An endorser, an https server and a site."""
    www = tmp_path / "www"
    www.mkdir()
    with demo_server.serve(www, pki.tls / "server.pem", pki.tls / "server.key") as server:
        yield Bench(pki=pki, www=www, work=tmp_path, server=server.uri, run_module=run_module)


def undocumented(module: t.Any, result: t.Mapping[str, t.Any]) -> list[str]:
    """Where a successful result and the module's RETURN do not agree."""
    described = yaml.safe_load(module.RETURN)
    own = {key: value for key, value in result.items() if key not in ANSIBLES_OWN}
    return list(_differences(own, described, ""))


def _differences(value: t.Mapping[str, t.Any], described: t.Mapping[str, t.Any], where: str) -> Iterator[str]:
    for key, entry in described.items():
        if key not in value and str(entry.get("returned", "success")).startswith("success"):
            yield f"{where}{key} is documented and not returned"
    for key, item in value.items():
        if key not in described:
            yield f"{where}{key} is returned and not documented"
            continue
        contents = described[key].get("contains")
        if contents and described[key]["type"] == "dict" and item is not None:
            yield from _differences(item, contents, f"{where}{key}.")
        elif contents and described[key]["type"] == "list":
            for part in item:
                yield from _differences(part, contents, f"{where}{key}[].")
