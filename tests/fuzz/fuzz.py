# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fuzz the verifier for a bounded time: `make fuzz SECONDS=60`, or `fuzz.py SECONDS DIRECTORY`.

With atheris, coverage leads the way, and what it finds is kept in DIRECTORY for the next time; where atheris does not
install, Hypothesis changes the seeds. An input that is judged wrongly is kept in DIRECTORY, too, and the end is not 0.
"""

from __future__ import annotations

import importlib
import pathlib
import random
import subprocess
import sys
import tempfile
import time
import typing as t

PACKAGE: t.Final = "ansible_collections.hepix.vmimages.plugins.module_utils._core"
LARGEST: t.Final = 32_768

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))


def with_atheris(atheris: t.Any, seconds: int, directory: pathlib.Path, temporary: pathlib.Path) -> None:
    """Never returns: libFuzzer ends the process, with 0 when nothing was found."""
    with atheris.instrument_imports(include=[f"{PACKAGE}.trust", f"{PACKAGE}.imagelist"]):
        target = importlib.import_module("target")
    judge = target.Target(temporary)

    def mutate(octets: bytes, largest: int, seed: int) -> bytes:
        dice = random.Random(seed)
        if dice.random() < 0.3:
            return bytes(atheris.Mutate(octets, largest))
        changed = target.with_cms(octets, lambda inner: bytes(atheris.Mutate(inner, largest // 2)))
        return bytes(changed[:largest])

    options = [
        f"-max_total_time={seconds}",
        f"-max_len={LARGEST}",
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
        f"-artifact_prefix={directory}/",
    ]
    found = directory / "found"
    found.mkdir(exist_ok=True)
    arguments = [sys.argv[0], *options, str(found), str(target.MESSAGES)]
    atheris.Setup(arguments, judge.run, custom_mutator=mutate)
    atheris.Fuzz()


def with_hypothesis(seconds: int, directory: pathlib.Path, temporary: pathlib.Path) -> int:
    """The number of messages that were tried."""
    import hypothesis
    from hypothesis import strategies as st

    target = importlib.import_module("target")
    judge = target.Target(temporary)
    end = time.monotonic() + seconds
    tried = 0
    octet = st.one_of(st.binary(max_size=8), st.sampled_from([b"\0", b"\x80", b"\xff", b"\x30\x80", b"\0\0", b"\n--"]))
    edit = st.tuples(st.floats(0, 1), st.integers(0, 8), octet, st.floats(0, 1), st.booleans())

    @hypothesis.settings(
        max_examples=1000, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    @hypothesis.given(st.sampled_from(sorted(judge.seeds)), st.booleans(), st.lists(edit, min_size=1, max_size=4))
    def attempt(name: str, inside: bool, edits: list[tuple[float, int, bytes, float, bool]]) -> None:
        nonlocal tried
        if time.monotonic() > end:
            return

        def change(octets: bytes) -> bytes:
            for place, length, new, source, copied in edits:
                at, origin = int(place * len(octets)), int(source * len(octets))
                piece = octets[origin : origin + len(new) + 1] if copied else new
                octets = octets[:at] + piece + octets[at + length :]
            return octets

        seed = judge.seeds[name]
        message = target.with_cms(seed, change) if inside else change(seed)
        (directory / "last").write_bytes(message)
        judge.run(message)
        tried += 1

    rounds = 0
    while time.monotonic() < end:
        rounds += 1
        hypothesis.seed(rounds)(attempt)()
    return tried


def main() -> int:
    """The process's exit status."""
    seconds, directory = int(sys.argv[1]), pathlib.Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    if len(sys.argv) == 3:
        # A process of its own: libFuzzer does not come back. Not in the checkout, which others may be able to write to.
        with tempfile.TemporaryDirectory() as anchors:
            return subprocess.run([sys.executable, *sys.argv, anchors], check=False).returncode
    temporary = pathlib.Path(sys.argv[3])
    try:
        atheris = importlib.import_module("atheris")
    except ImportError:
        print(f"Fuzzing for {seconds} s with Hypothesis; atheris is not there.")
        print(f"{with_hypothesis(seconds, directory, temporary)} messages were judged, none wrongly.")
        return 0
    print(f"Fuzzing for {seconds} s with atheris.")
    with_atheris(atheris, seconds, directory, temporary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
