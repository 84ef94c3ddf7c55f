# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What publishing costs: ten images signed into a list, beside sha512sum one file after the other.

The images are files of this machine that stay where they are, so that reading them is the work; a second run reads
none of them. `python -m benchmarks.publishing` takes `--size` in MiB for each image.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
import tempfile
import typing as t
import uuid
from datetime import datetime, timezone

from ansible_collections.hepix.vmimages.playbooks.files import demo_ca
from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorser.publish import PublishSpec, publish

from . import measure

MIB: t.Final = 1024 * 1024
IMAGES: t.Final = 10
GOAL: t.Final = 0.6


class Endorser:
    """Ten images, and an endorser who publishes them for the first time in every round."""

    def __init__(self, folder: pathlib.Path, size: int) -> None:
        self._folder = folder
        self._now = datetime.now(timezone.utc).replace(microsecond=0)
        self._pki = demo_ca.DemoCA(folder / "pki", self._now)
        self._pki.make()
        self.paths = [folder / f"image-{number}" for number in range(IMAGES)]
        for path in self.paths:
            with path.open("wb") as stream:
                for _piece in range(size):
                    stream.write(os.urandom(MIB))
        self._history = 0

    def renew(self, _round: int) -> None:
        """A history that knows nothing yet."""
        self._history += 1

    def publish(self) -> int:
        """Publish; returns how many octets of the images were read."""
        options = {
            "identifier": str(uuid.uuid5(uuid.NAMESPACE_URL, "list")),
            "uri": "https://images.example.org/list",
            "images": [
                {
                    "identifier": str(uuid.uuid5(uuid.NAMESPACE_URL, path.name)),
                    "path": str(path),
                    "uri": f"https://images.example.org/{path.name}",
                }
                for path in self.paths
            ],
            "certificate": str(self._pki.endorser.certificate_path),
            "private_key": str(self._pki.endorser.key_path),
            "history_dir": str(self._folder / f"history-{self._history}"),
            "anchors": str(self._pki.certificates),
        }
        done = publish(PublishSpec.from_options(options), check=False, now=self._now)
        return int(done.data["octets_read"])


def main() -> t.NoReturn:
    """Print the table and the goals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1024, metavar="MIB", help="of each image (1024)")
    parser.add_argument("--rounds", type=int, default=measure.LEAST)
    parser.add_argument("--directory", help="where the images are made (a temporary directory)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vmimages-bench-", dir=options.directory) as name:
        endorser = Endorser(pathlib.Path(name), options.size)
        rounds = measure.Rounds()
        rounds.run(
            {
                "sha512sum one after the other": lambda: measure.usage_of(["sha512sum", *map(str, endorser.paths)])[0],
                "publish": lambda: measure.usage_here(endorser.publish),
            },
            rounds=options.rounds,
            before=endorser.renew,
        )
        read_again = endorser.publish()
    print(measure.heading(f"Publishing {IMAGES} images of {options.size} MiB"))
    names = ("sha512sum one after the other", "publish")
    rows = []
    for contender in names:
        median, ratio = rounds.median(contender), rounds.ratio(contender, names[0])
        rows.append((contender, f"{median.cpu:.2f}", f"{median.wall:.2f}", f"{ratio.cpu:.2f}", f"{ratio.wall:.2f}"))
    print(measure.table(("", "CPU s", "clock s", "CPU ratio", "clock ratio"), rows), end="\n\n")
    goals = measure.Goals()
    goals.most(
        "publish to sha512sum, by the clock, where two cores are free", rounds.ratio(names[1], names[0]).wall, GOAL
    )
    goals.most("octets of images read by a second run", read_again, 0)
    goals.end()


if __name__ == "__main__":
    sys.exit(main())
