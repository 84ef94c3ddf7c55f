# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The corpus of signed lists, and its anchors with permissions that no checkout can spoil."""

from __future__ import annotations

import datetime
import json
import pathlib
import shutil
import typing as t

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust import anchors

CORPUS = pathlib.Path(__file__).parent / "corpus"


def private_copy(source: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
    """Copy a tree so that its owner alone may write to it, whatever the umask and the owner of the checkout."""
    shutil.copytree(source, target)
    target.chmod(0o755)
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return target


class Corpus:
    """Paths, keys, time and anchors of the corpus."""

    def __init__(self, trust: pathlib.Path) -> None:
        self.trust = trust
        self.config: dict[str, t.Any] = json.loads((CORPUS / "config.json").read_text(encoding="utf-8"))
        self.when = datetime.datetime(2026, 11, 20, 12, tzinfo=datetime.timezone.utc)
        self.content = (CORPUS / "list.json").read_bytes()
        self._anchors: dict[str, anchors.Anchors] = {}

    def message(self, name: str) -> bytes:
        return (CORPUS / "messages" / f"{name}.eml").read_bytes()

    def anchors(self, name: str = "trust") -> anchors.Anchors:
        if name not in self._anchors:
            self._anchors[name] = anchors.load_directory(self.trust / name)
        return self._anchors[name]

    def path(self, name: str) -> pathlib.Path:
        """A file of keys/, such as owen.pem or owen.key."""
        return CORPUS / "keys" / name

    def certificate(self, name: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.path(f"{name}.pem").read_bytes())

    def key(self, name: str) -> t.Any:
        return load_pem_private_key(self.path(f"{name}.key").read_bytes(), None)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus(private_copy(CORPUS / "trust", tmp_path_factory.mktemp("anchors") / "trust"))


@pytest.fixture
def directory(corpus: Corpus, tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of the good anchors directory that a test may change."""
    return private_copy(corpus.trust / "trust", tmp_path / "certificates")
