# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site with one approved image in its cache, and a hypervisor to start it on."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from .hypervisors import DRIVER, Node, binding


def _prepared(bench: t.Any) -> Path:
    """The state of a site with a raw image of a megabyte, approved and cached."""
    bench.publish(bench.image(octets=b"an image" * 131072, format="raw"))
    bench.subscribe()
    bench.decide("approve")
    assert not bench.cache().failed
    return t.cast(Path, bench.state_dir)


@pytest.fixture(scope="session")
def _prepared_once() -> list[Path]:
    return []


@pytest.fixture
def driver(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[t.Any]:
    """The test driver of libvirt, whose domains are gone after each test."""
    libvirt = binding(tmp_path_factory.mktemp("binding") / "packages")
    connection = libvirt.open(DRIVER)
    yield connection
    connection.close()


@pytest.fixture
def node(bench: t.Any, driver: t.Any, _prepared_once: list[Path]) -> Node:
    """A node whose site all tests share, and none changes."""
    if not _prepared_once:
        _prepared_once.append(_prepared(bench))
    return Node(bench, driver, _prepared_once[0])


@pytest.fixture
def own_node(bench: t.Any, driver: t.Any) -> Node:
    """A node with a site of the test's own."""
    return Node(bench, driver, _prepared(bench))
