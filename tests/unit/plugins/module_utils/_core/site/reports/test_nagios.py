# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check: one line, one exit code."""

from __future__ import annotations

import re
import typing as t

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.reports import nagios
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.reports.facts import site_status

PERFORMANCE = re.compile(r"[a-z_]+=\d+s?;[\d]*;[\d]*;[\d]*\Z")


def check(snapshots: t.Any, document: t.Any) -> tuple[int, str, dict[str, str]]:
    code, line = nagios.check(site_status(document, snapshots.now))
    assert line.isprintable()
    text, separator, performance = line.partition(" | ")
    assert separator and "|" not in text + performance
    values = performance.split()
    assert all(PERFORMANCE.match(value) for value in values)
    return (
        code,
        text,
        {name: value.partition(";")[0] for name, _sign, value in (value.partition("=") for value in values)},
    )


def test_a_site_without_trouble_is_ok(snapshots: t.Any) -> None:
    code, text, values = check(
        snapshots, snapshots.document(images=[snapshots.image(1), snapshots.image(2, "withdrawn")])
    )
    assert (code, text) == (0, "VMIMAGES OK - 1 list, 2 images, 1 may run")
    assert values == {
        "lists": "1",
        "unrefreshed": "0",
        "images": "2",
        "allowed": "1",
        "problem_images": "0",
        "oldest_refresh": "11100s",
    }


@pytest.mark.parametrize(
    ("item", "image", "code", "says"),
    [
        ({"uri": "http://example.org/l"}, "allowed", 1, "unauthenticated"),
        ({"error": {"code": "timeout", "detail": "No answer."}}, "allowed", 1, "timeout: The last refresh failed"),
        ({}, "not_cached", 1, "may not run: not_cached"),
        ({}, "file_changed", 2, "may not run: file_changed"),
        ({"max_unrefreshed": 60}, "allowed", 2, "not refreshed for 3 h 5 min; the limit is 1 min"),
        ({"path": {"code": "revoked", "detail": "It was revoked.", "good_until": None}}, "allowed", 2, "revoked"),
        ({"expires": "2026-03-10T12:00:00Z"}, "allowed", 2, "list_expired"),
    ],
)
def test_what_is_a_warning_and_what_is_critical(
    snapshots: t.Any, item: t.Mapping[str, t.Any], image: str, code: int, says: str
) -> None:
    document = snapshots.document({snapshots.good_list: snapshots.list(**item)}, [snapshots.image(1, image)])
    found, text, _values = check(snapshots, document)
    assert found == code
    assert text.startswith("VMIMAGES WARNING - " if code == 1 else "VMIMAGES CRITICAL - ") and says in text


def test_of_many_problems_the_worst_are_named(snapshots: t.Any) -> None:
    code, text, values = check(snapshots, snapshots.trouble())
    assert code == 2
    assert text.count(";") == 4 and text.endswith("; and 4 more")
    assert all(f": {name}: " in text for name in ("unrefreshed", "crl_unavailable", "list_expired"))
    assert (values["unrefreshed"], values["problem_images"]) == ("1", "2")


def test_a_hostile_error_cannot_write_performance_data(snapshots: t.Any) -> None:
    item = snapshots.list(error={"code": "timeout", "detail": "x | lists=99\nOK"})
    _code, text, values = check(snapshots, snapshots.document({snapshots.good_list: item}))
    assert "x / lists=99" in text
    assert values["lists"] == "1"


def test_what_cannot_be_told_is_unknown() -> None:
    assert nagios.unknown("There is | no\nstate.") == (3, "VMIMAGES UNKNOWN - There is / no\ufffdstate.")
