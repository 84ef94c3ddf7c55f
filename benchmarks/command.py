# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a single call costs: the gate from a cold start, a module with one and with 1,000 items, a sync of nothing new.

The catalogue has 10 lists of 100 images, all approved and cached as files without content; strace, where there is one,
counts how many octets of them a sync reads.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import typing as t

from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.cache.plan import file_name
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement import snapshot
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement.records import stat_record
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.catalogue import Catalogue

from . import catalogues, kept, measure
from .catalogues import Size, World

SIZE: t.Final = Size(10, 100, 1)
#: The image that is asked for, and the header of an empty disk, as which it is looked at before a start.
STARTED: t.Final = catalogues.image_id(3, 3)
_QCOW2: t.Final = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 0, 0, 16, 2**20, 0, 1, 2**16, 2**17, 1, 0, 0)

#: A module's main() as Ansible starts it; the one that does nothing is a bare AnsibleModule.
_MODULE: t.Final = """
import importlib, json, sys
from ansible.module_utils.testing import patch_module_args
with patch_module_args(json.loads(sys.argv[2])):
    if sys.argv[1]:
        importlib.import_module(f"ansible_collections.hepix.vmimages.plugins.modules.{sys.argv[1]}").main()
    else:
        from ansible.module_utils.basic import AnsibleModule
        AnsibleModule(argument_spec={}).exit_json()
"""
#: The gate as somebody runs it who does not own the catalogue.
_STRANGER: t.Final = """
import os, sys
os.geteuid = lambda: 4711
from ansible_collections.hepix.vmimages.plugins.module_utils._core.main import main
sys.exit(main(sys.argv[1:]))
"""


def _cached(world: World, state: pathlib.Path) -> None:
    """Approve and cache every image; the files have the right size, and no block on the disk."""
    with Catalogue.open(state) as catalogue:
        with catalogue.writing() as writer:
            terms = [world.subscription(number, new_images="cache").as_dict() for number in range(SIZE.lists)]
            writer.commit(*(("subscribed", one) for one in terms))
            events = []
            for row in catalogue.rows("SELECT * FROM images"):
                path = catalogue.state.current / file_name(row)
                with path.open("wb") as stream:
                    stream.truncate(row["size"])
                    if row["image_id"] == STARTED:
                        stream.write(_QCOW2)
                record = {"name": path.name, "list": row["list_id"], "image": row["image_id"]}
                record.update({"version": row["version"], "sha512": row["sha512"]})
                events.append(("cached", {**record, "stat": stat_record(path)}))
            writer.commit(*events)
        snapshot.write(catalogue)


def _vmimages(state: pathlib.Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.vmimages", *arguments, "--state-dir", str(state)]


def _module(name: str, **options: t.Any) -> t.Callable[[], measure.Usage]:
    command = [sys.executable, "-c", _MODULE, name, json.dumps(options)]
    return lambda: measure.usage_of(command)[0]


def _machine(directory: pathlib.Path, state: pathlib.Path, image: str) -> tuple[str, str]:
    """A domain whose disk is the image, read-only, and the configuration of the gate for it."""
    (path,) = (state / "cache/current").glob(f"{image}_*")
    domain, settings = directory / "domain.xml", directory / "gate.json"
    domain.write_text(
        "<domain type='qemu'><name>worker</name><uuid>5f2c1a9e-7d1b-4c55-9d3e-0a1b2c3d4e5f</uuid><devices>"
        f"<disk type='file'><driver type='qcow2'/><source file='{path}'/><target dev='vda'/><readonly/></disk>"
        "</devices></domain>"
    )
    settings.write_text(json.dumps({"state_dir": str(state)}))
    settings.chmod(0o644)
    return str(domain), str(settings)


def _read_by_sync(state: pathlib.Path, directory: pathlib.Path) -> int | None:
    """How many octets of cached images a sync reads; None without strace."""
    if shutil.which("strace") is None:
        return None
    log = directory / "strace"
    command = ["strace", "-f", "-qq", "-y", "-o", str(log), "-e", "trace=read,pread64,readv,mmap,sendfile,splice"]
    subprocess.run([*command, *_vmimages(state, "sync", "--json")], check=True, stdout=subprocess.DEVNULL)
    read = re.compile(r"\(\d+<[^>]*/cache/(?:current|expired)/[0-9a-f]{8}-[^>]*>.* = (\d+)$")
    found = (read.search(line) for line in log.read_text(errors="replace").splitlines())
    return sum(int(one.group(1)) for one in found if one)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=measure.LEAST)
    rounds, goals = measure.Rounds(), measure.Goals()
    options = parser.parse_args()
    with kept.scratch() as directory:
        world = kept.world()
        state, empty = world.copy(SIZE, directory / "state"), world.copy(Size(1, 1, 1), directory / "empty")
        _cached(world, state)
        with Catalogue.open(empty) as catalogue:
            snapshot.write(catalogue)
        image = STARTED
        images = [catalogues.image_id(number, one) for number in range(SIZE.lists) for one in range(SIZE.images)]
        gate = _vmimages(state, "verdict", image)
        domain, settings = _machine(directory, state, image)
        start = [
            sys.executable,
            "-m",
            "benchmarks.vmimages",
            "gate",
            "--quiet",
            "--domain",
            domain,
            "--config",
            settings,
        ]
        stranger = [sys.executable, "-c", _STRANGER, "verdict", image, "--state-dir", str(state)]
        sync, nothing = _vmimages(state, "sync", "--json"), _vmimages(empty, "sync", "--json")
        contenders: dict[str, t.Callable[[], measure.Usage]] = {
            "python, nothing": lambda: measure.usage_of([sys.executable, "-c", ""])[0],
            "verdict, cold": lambda: measure.usage_of(gate)[0],
            "verdict from the snapshot, cold": lambda: measure.usage_of(stranger)[0],
            "gate, cold": lambda: measure.usage_of(start)[0],
            "a module that does nothing": _module(""),
            "image_info, 1 image": _module("image_info", state_dir=str(state), images=images[:1]),
            "image_info, 1000 images": _module("image_info", state_dir=str(state), images=images),
            "image_decision, 1 image": _module(
                "image_decision", state_dir=str(state), decision="clear", images=images[:1]
            ),
            "image_decision, 1000 images": _module(
                "image_decision", state_dir=str(state), decision="clear", images=images
            ),
            "sync of 1 image, none wanted": lambda: measure.usage_of(nothing)[0],
            "sync of 1000 cached images": lambda: measure.usage_of(sync)[0],
        }
        rounds.run(contenders, rounds=options.rounds)
        octets = _read_by_sync(state, directory)
    print(measure.heading("single calls"))
    rows = [(name, *(f"{seconds:.3f}" for seconds in rounds.median(name))) for name in contenders]
    print(measure.table(("seconds", "CPU", "clock"), rows), end="\n\n")
    more = rounds.median("sync of 1000 cached images").cpu - rounds.median("sync of 1 image, none wanted").cpu
    goals.most("verdict, cold", rounds.median("verdict, cold").cpu, 0.3, " s")
    goals.most("verdict from the snapshot, cold", rounds.median("verdict from the snapshot, cold").cpu, 0.3, " s")
    goals.most("gate, cold", rounds.median("gate, cold").cpu, 0.3, " s")
    ratio = rounds.ratio("gate, cold", "verdict from the snapshot, cold").cpu
    goals.most("gate, cold, beside the verdict", ratio, 1.3)
    for name in ("image_info", "image_decision"):
        ratio = rounds.ratio(f"{name}, 1000 images", f"{name}, 1 image").cpu
        goals.most(f"{name} with 1000 images, beside 1", ratio, 1.5)
        ratio = rounds.ratio(f"{name}, 1 image", "a module that does nothing").cpu
        goals.most(f"{name} with 1 image, beside nothing", ratio, 1.4)
    goals.most("sync of 1000 cached images, CPU beyond the start", more, 0.1, " s")
    if octets is None:
        print("There is no strace: octets read by a sync were not counted.")
    else:
        goals.most("octets of images read by that sync", octets, 0)
    goals.end()


if __name__ == "__main__":
    os.umask(0o022)
    main()
