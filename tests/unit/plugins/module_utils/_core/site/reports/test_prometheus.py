# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics are what a Prometheus client reads, whatever a list's title says."""

from __future__ import annotations

import typing as t
from datetime import timedelta

from prometheus_client.parser import text_string_to_metric_families

from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.reports import prometheus
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.reports.facts import site_status

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(text: str) -> Samples:
    """Every sample by its name and labels; each family must have its help and type, and no sample may come twice."""
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)
    assert all(family.type == "gauge" and family.documentation for family in families)
    found = [
        ((sample.name, frozenset(sample.labels.items())), sample.value)
        for family in families
        for sample in family.samples
    ]
    assert len(dict(found)) == len(found)
    return dict(found)


def metric(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"vmimages_{name}", frozenset(labels.items())


def test_the_metrics_of_a_site_in_trouble(snapshots: t.Any) -> None:
    samples = read(prometheus.render(site_status(snapshots.trouble(), snapshots.now)))
    good, bad = snapshots.good_list, snapshots.bad_list
    image, unwanted, gone = (snapshots.image(number)["identifier"] for number in (1, 2, 6))
    now = snapshots.now.timestamp()
    expected = {
        metric("snapshot_written_timestamp_seconds"): now,
        metric("lists"): 2,
        metric("images", code="allowed"): 1,
        metric("images", code="unsubscribed"): 1,
        metric("list_info", list=good, title="Worker nodes", uri="https://example.org/list", version="7"): 1,
        metric("list_refreshed_timestamp_seconds", list=bad): now - 5 * 86400 - 3 * 3600,
        metric("list_expires_timestamp_seconds", list=bad): now - 86400,
        metric("list_max_unrefreshed_seconds", list=bad): 86400,
        metric("list_unrefreshed", list=bad): 1,
        metric("list_unrefreshed", list=good): 0,
        metric("list_unauthenticated", list=bad): 1,
        metric("list_unauthenticated", list=good): 0,
        metric("list_path_good", list=bad): 0,
        metric("list_path_good", list=good): 1,
        metric("list_path_good_until_timestamp_seconds", list=good): now + 5 * 86400,
        metric("list_problem", list=bad, severity="critical", code="crl_unavailable"): 1,
        metric("list_problem", list=bad, severity="warning", code="timeout"): 1,
        metric("list_images", list=good, code="not_approved"): 1,
        metric("image_allowed", list=good, image=image): 1,
        metric("image_verdict", list=good, image=image, code="allowed"): 1,
        metric("image_problem", list=good, image=snapshots.image(3)["identifier"]): 1,
        metric("image_problem", list=good, image=image): 0,
        metric("image_good_until_timestamp_seconds", list=good, image=image): now + 5 * 86400,
        metric("image_info", list=good, image=snapshots.image(7)["identifier"], title="", tag="pilot", version="1"): 1,
    }
    assert {key: samples.get(key) for key in expected} == expected
    assert metric("list_path_good_until_timestamp_seconds", list=bad) not in samples
    named = {dict(labels).get("image") for _name, labels in samples}
    assert image in named and named.isdisjoint({unwanted, gone})


def test_a_hostile_title_stays_a_label(snapshots: t.Any) -> None:
    title = 'x"} 1\nvmimages_list_unrefreshed{list="y"} 1 \\'
    document = snapshots.document({snapshots.good_list: snapshots.list(title=title)}, [snapshots.image(1, title=title)])
    samples = read(prometheus.render(site_status(document, snapshots.now)))
    titles = {dict(labels).get("title") for _name, labels in samples} - {None}
    assert titles == {title.replace("\n", "\ufffd")}
    assert {dict(labels).get("list") for _name, labels in samples} == {None, snapshots.good_list}


def test_every_label_is_escaped() -> None:
    assert prometheus.labels({"a": 'q"', "b": "c\\n\n"}) == '{a="q\\"",b="c\\\\n\\n"}'


def test_a_site_without_lists_has_metrics_as_well(snapshots: t.Any) -> None:
    samples = read(prometheus.render(site_status(snapshots.document({}), snapshots.now + timedelta(days=1))))
    assert samples == {
        metric("snapshot_written_timestamp_seconds"): snapshots.now.timestamp(),
        metric("lists"): 0,
    }
