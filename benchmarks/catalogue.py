# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to a catalogue of 100,000 images (1,000 lists of 100) with 50 versions of history, decisions, and rebuild.

The messages of the present versions are genuine, and the index is made of them. The 49 versions before them are put
into the index alone, two images of each list being others in each: what is looked up does not depend on where the rows
are from, and 49,000 messages more take long to make. What a rebuild takes is told for each message.
"""

from __future__ import annotations

import argparse
import statistics
import time
import typing as t

from ansible_collections.hepix.vmimages.plugins.module_utils._core.site import decisions, queries
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement import asked, snapshot
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store import index
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.catalogue import Catalogue

from . import catalogues, kept, measure
from .catalogues import CHANGED, Size

QUESTIONS: t.Final = 200


def _age(catalogue: Catalogue, size: Size, versions: int) -> None:
    """Give every list `versions` earlier versions, with other rows for the images that changed."""
    with index.immediate(catalogue.connection):
        first = -size.lists * versions
        for number in range(size.lists):
            name = catalogues.list_id(number)
            standing = catalogue.rows("SELECT * FROM images WHERE list_id = ? ORDER BY row", name)
            version = dict(t.cast("t.Any", catalogue.standing_version(name)))
            for step in range(versions):
                sequence = first + number * versions + step
                values = {**version, "sequence": sequence, "version": f"0.{step}"}
                _insert(catalogue, "versions", values)
                for image in standing[step * CHANGED % size.images :][:CHANGED]:
                    values = {**dict(image), "row": sequence * CHANGED - image["row"] % CHANGED, "until": sequence + 1}
                    _insert(catalogue, "images", {**values, "version": f"0.{step}", "since": sequence})


def _insert(catalogue: Catalogue, table: str, values: t.Mapping[str, t.Any]) -> None:
    marks = ", ".join("?" * len(values))
    statement = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})"
    catalogue.connection.execute(statement, tuple(values.values()))


def _each(ask: t.Callable[[int], object], count: int = QUESTIONS) -> float:
    """Milliseconds of CPU for one question that was asked once before, the median of many about many lists."""
    taken = []
    for number in range(count):
        ask(number)
    for number in range(count):
        begun = time.process_time_ns()
        ask(number)
        taken.append((time.process_time_ns() - begun) / 1e6)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lists", type=int, default=1000)
    parser.add_argument("--versions", type=int, default=50)
    options = parser.parse_args()
    size = Size(options.lists, 100, 1)
    found: list[tuple[str, float, str]] = []
    goals = measure.Goals()
    with kept.scratch() as directory:
        world = kept.world()
        state = world.copy(size, directory / "state")
        kinds = {
            asked.IMAGE: lambda number: catalogues.image_id(number * 7 % size.lists, number % size.images),
            asked.TAG: lambda number: catalogues.tag(number * 7 % size.lists, number % size.images),
        }
        begun = measure.usage_here(lambda: _open(state))
        found.append(("first opening: an index of all messages, for each", begun.cpu / size.lists * 1e3, "ms"))
        with Catalogue.open(state) as catalogue:
            begun = measure.usage_here(catalogue.rebuild)
            found.append(("rebuild, for each message", begun.cpu / size.lists * 1e3, "ms"))
            _age(catalogue, size, options.versions - 1)
            rows = catalogue.row("SELECT count(*) AS rows FROM images")
            found.append(("rows of images", float(rows["rows"] if rows else 0), ""))
            for kind, of in kinds.items():
                name = {asked.IMAGE: "UUID", asked.TAG: "tag"}[kind]
                taken = _each(lambda number, of=of, kind=kind: asked.find(catalogue, of(number), kind))  # type: ignore[misc]
                found.append((f"look up a {name}", taken, "ms"))
                taken = _each(lambda number, of=of, kind=kind: queries.judge(catalogue, of(number), kind=kind))  # type: ignore[misc]
                found.append((f"verdict on a {name}", taken, "ms"))
            sums = [row["sha512"] for row in catalogue.rows("SELECT sha512 FROM images WHERE until IS NULL LIMIT 200")]
            taken = _each(lambda number: asked.find(catalogue, sums[number], asked.SHA512))
            found.append(("look up a sha512", taken, "ms"))
            begun = measure.usage_here(lambda: snapshot.write(catalogue))
            found.append(("first snapshot: all messages verified, all images judged", begun.cpu, "s"))
            begun = measure.usage_here(lambda: snapshot.write(catalogue))
            found.append(("snapshot, nothing changed", begun.cpu, "s"))
            begun = measure.usage_here(lambda: _decide(catalogue))
            found.append(("a decision about one image, with its snapshot", begun.cpu, "s"))

        def opened(number: int) -> None:
            with Catalogue.open(state) as again:
                asked.find(again, kinds[asked.IMAGE](number), asked.IMAGE)

        taken = _each(opened)
        found.append(("open, and look up a UUID", taken, "ms"))
        goals.most("look up a UUID, with opening", taken, 1, " ms")
        with Catalogue.open(state) as catalogue:
            place = catalogue.state

        def recorded(number: int) -> None:
            snapshot.judge(snapshot.load(place), kinds[asked.IMAGE](number), catalogue.now())

        found.append(("verdict on a UUID from the snapshot, read anew", _each(recorded, 20), "ms"))
        octets = place.snapshot.stat().st_size
        found.append(("size of verdicts.json", octets / 1e6, "MB"))
    print(measure.heading(f"a catalogue of {size.lists} lists of {size.images} images, {options.versions} versions"))
    print(measure.table(("CPU", "found", ""), [(name, f"{value:.3g}", unit) for name, value, unit in found]))
    print()
    goals.end()


def _open(state: t.Any) -> None:
    with Catalogue.open(state):
        pass


def _decide(catalogue: Catalogue) -> None:
    decisions.decide(catalogue, decision="approve", images=[catalogues.image_id(3, 3)])


if __name__ == "__main__":
    main()
