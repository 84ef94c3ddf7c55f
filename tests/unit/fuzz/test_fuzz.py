# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fuzzer sees what it is there for: crashes, and what nobody has signed."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import pathlib
import subprocess
import sys
import types
import typing as t

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TrustError

FUZZ: t.Final = pathlib.Path(__file__).resolve().parents[2] / "fuzz"


@pytest.fixture(scope="module")
def target() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("vmimages_fuzz_target", FUZZ / "target.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_seeds_are_judged_rightly(target: types.ModuleType, tmp_path: pathlib.Path) -> None:
    judge = target.Target(tmp_path)
    accepted = [name for name, octets in judge.seeds.items() if judge.run(octets)]
    assert len(accepted) > 30
    assert len(judge.seeds) - len(accepted) > 50
    for octets in judge.seeds.values():
        judge.run(target.with_cms(octets, lambda cms: cms[:-1]))


def test_a_crash_and_a_wrong_acceptance_are_seen(
    target: types.ModuleType, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = target.Target(tmp_path)
    seed = judge.seeds["ok-openssl-cms-rsa"]
    believe = target.verify.verify_message
    with monkeypatch.context() as patched:

        def other(*arguments: t.Any) -> t.Any:
            found = believe(*arguments)
            return dataclasses.replace(found, content=found.content.replace(b'"t"', b'"u"'))

        patched.setattr(target.verify, "verify_message", other)
        with pytest.raises(target.WrongError, match="nobody has signed"):
            judge.run(seed)

    def crash(*_arguments: t.Any) -> t.NoReturn:
        raise TrustError("internal_error", "An unexpected ValueError stopped the verification")

    monkeypatch.setattr(target.verify, "verify_message", crash)
    with pytest.raises(target.WrongError, match="unexpected"):
        judge.run(seed)


def test_hypothesis_takes_the_place_of_atheris(tmp_path: pathlib.Path) -> None:
    (tmp_path / "atheris.py").write_text("raise ImportError\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, str(FUZZ / "fuzz.py"), "2", str(tmp_path / "work")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "with Hypothesis" in done.stdout
    assert int(done.stdout.splitlines()[-1].split()[0]) > 20
