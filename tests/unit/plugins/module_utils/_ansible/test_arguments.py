# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options become values, or a refusal that names the option; the specs mirror the doc fragments."""

from __future__ import annotations

import typing as t
from datetime import datetime, timedelta, timezone

import pytest
import yaml

from ansible_collections.hepix.vmimages.plugins.doc_fragments import catalogue, signing, trust
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.arguments import (
    CATALOGUE,
    SIGNING,
    TRUST,
    duration,
    optional_duration,
    timestamp,
)
from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import SiteError


def _described(options: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The documented options as an argument spec."""
    kept = ("type", "default", "choices", "required", "elements")
    return {
        name: {
            **{key: option[key] for key in kept if key in option},
            **({"options": _described(option["suboptions"])} if "suboptions" in option else {}),
        }
        for name, option in options.items()
    }


def _without_logging(spec: t.Any) -> t.Any:
    if not isinstance(spec, dict):
        return spec
    return {key: _without_logging(value) for key, value in spec.items() if key != "no_log"}


@pytest.mark.parametrize(("spec", "fragment"), [(TRUST, trust), (CATALOGUE, catalogue), (SIGNING, signing)])
def test_the_spec_mirrors_its_fragment(spec: t.Any, fragment: t.Any) -> None:
    options = yaml.safe_load(fragment.ModuleDocFragment.DOCUMENTATION)["options"]
    assert _described(options) == _without_logging(spec)


def test_a_duration_is_read_and_may_be_left_out() -> None:
    assert duration({"max_age": "2h"}, "max_age") == timedelta(hours=2)
    assert optional_duration({"max_age": "2h"}, "max_age") == timedelta(hours=2)
    assert optional_duration({"max_age": None}, "max_age") is None


def test_a_time_is_read_and_may_be_left_out() -> None:
    assert timestamp({"until": "2027-01-31T01:02:03Z"}, "until") == datetime(2027, 1, 31, 1, 2, 3, tzinfo=timezone.utc)
    assert timestamp({"until": None}, "until") is None


@pytest.mark.parametrize("read", [duration, timestamp])
def test_what_cannot_be_read_is_refused_by_the_name_of_its_option(read: t.Any) -> None:
    with pytest.raises(SiteError) as refused:
        read({"some_option": "tomorrow"}, "some_option")
    assert refused.value.code == "option_invalid"
    assert refused.value.detail.startswith("some_option: 'tomorrow' is not a ")
    assert refused.value.detail.endswith(".") and not refused.value.detail.endswith("..")
