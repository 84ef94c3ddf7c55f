# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reports that the settings name follow the snapshot, and never fail what they report on."""

from __future__ import annotations

import json
import stat
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.lists import refresh
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.reports import page
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.reports.publish import publish
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.state import locked

IMAGE = "488dcdc4-9ab1-4fc8-a7ba-b7a5428ecb3d"


@pytest.fixture
def reports(world: t.Any, tmp_path: Path) -> Path:
    """A directory for the reports of a site that has one approved image, not cached; the settings name it."""
    directory = tmp_path / "reports"
    directory.mkdir()
    world.publish("1", [world.image(title="First title")])
    world.subscribe()
    settle(world, reports={"html": str(directory / "index.html"), "prometheus": str(directory / "vmimages.prom")})
    world.decide("approve", IMAGE)
    return directory


def settle(world: t.Any, **settings: t.Any) -> None:
    (world.state / "settings.json").write_text(json.dumps({"site": "example-site", **settings}))


def warnings_of(world: t.Any) -> list[str]:
    """What a refresh warned of; it must have written its snapshot."""
    snapshot = world.state / "verdicts.json"
    snapshot.unlink()
    warnings: list[str] = []
    with world.open(warn=warnings.append) as catalogue:
        assert refresh.refresh(catalogue).data["failures"] == []
    assert snapshot.exists()
    return warnings


def test_a_refresh_a_decision_and_a_sync_write_the_reports(world: t.Any, reports: Path) -> None:
    html, metrics = reports / "index.html", reports / "vmimages.prom"
    assert "Virtual machine images of example-site" in html.read_text()
    assert f'image="{IMAGE}",code="not_cached"}} 1' in metrics.read_text()
    world.sync()
    assert f'image="{IMAGE}",code="allowed"}} 1' in metrics.read_text()
    world.decide("blacklist", IMAGE, reason="A hole in it")
    assert "blacklisted by sam: A hole in it." in html.read_text()
    world.publish("2", [world.image(version="2", title="Second title")])
    world.refresh()
    assert "Second title" in html.read_text()
    for path in (html, metrics):
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert sorted(path.name for path in reports.iterdir()) == ["index.html", "vmimages.prom"]


def test_the_sites_limit_counts_in_the_reports(world: t.Any, reports: Path) -> None:
    settle(world, max_unrefreshed="0s", reports={"html": str(reports / "index.html")})
    assert warnings_of(world) == []
    assert "the limit is 0 s" in (reports / "index.html").read_text()


def test_a_report_that_cannot_be_written_is_a_warning(world: t.Any, reports: Path) -> None:
    metrics = reports / "vmimages.prom"
    metrics.unlink()
    settle(world, reports={"html": str(reports / "missing" / "index.html"), "prometheus": str(metrics)})
    (warning,) = warnings_of(world)
    assert str(reports / "missing" / "index.html") in warning and "not_found" in warning
    assert metrics.exists()


def test_settings_that_are_wrong_are_a_warning(world: t.Any, reports: Path) -> None:
    settle(world, reports={"htlm": "/nowhere"})
    (warning,) = warnings_of(world)
    assert "settings_invalid" in warning and "htlm" in warning


def test_a_defect_in_a_report_is_a_warning(world: t.Any, reports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(status: object) -> str:
        raise RuntimeError("broken")

    monkeypatch.setattr(page, "render", broken)
    assert warnings_of(world) == ["The reports were not written: an unexpected RuntimeError: broken."]


def test_reports_that_another_process_writes_for_ever_are_a_warning(
    world: t.Any, reports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{publish.__module__}._PATIENCE", 0.1)
    with locked(world.state / "reports.lock"):
        (warning,) = warnings_of(world)
    assert "state_busy" in warning


def test_without_settings_nothing_is_written(world: t.Any) -> None:
    world.publish("1", [world.image()])
    world.subscribe()
    world.decide("approve", IMAGE)
    assert not (world.state / "reports.lock").exists()
