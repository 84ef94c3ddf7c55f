# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache's images in another directory, through the module."""

from __future__ import annotations

import typing as t

import pytest

IMAGE = "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"


@pytest.fixture
def site(bench: t.Any) -> t.Any:
    bench.publish(bench.image(format="raw"))
    bench.subscribe()
    bench.decide("approve")
    assert not bench.cache().failed
    return bench


def _run(site: t.Any, **options: t.Any) -> t.Any:
    how = {"check": options.pop("check")} if "check" in options else {}
    given = {"state_dir": str(site.state_dir), "path": str(site.work / "worker.img"), "image": IMAGE, **options}
    return site.run("image_install", given, **how)


def test_it_is_installed_once_and_removed_once(site: t.Any) -> None:
    planned, done, again = _run(site, check=True), _run(site), _run(site)
    assert [result["changed"] for result in (planned, done, again)] == [True, True, False]
    assert planned["diff"] == done["diff"] and done["diff"]["after"]["state"] == "present"
    assert (site.work / "worker.img").read_bytes() == b"an image" * 512
    assert done["verdict"]["allowed"] is True
    gone = {"state": "absent", "image": None}
    assert [_run(site, **gone)["changed"] for _turn in range(2)] == [True, False]


def test_a_refusal_has_the_code_of_the_verdict(site: t.Any) -> None:
    site.decide("blacklist")
    result = _run(site)
    assert result.failed and result["code"] == "blacklisted" and result["changed"] is False
    assert not (site.work / "worker.img").exists()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"mode": "rw"}, "option_invalid"),
        ({"format": "vdi"}, "not_derived"),
        ({"image": "nobody's"}, "unknown_image"),
        ({"path": "/"}, "not_installed_here"),
    ],
)
def test_bad_input_is_one_sentence(site: t.Any, options: dict[str, t.Any], code: str) -> None:
    result = _run(site, **options)
    assert result.failed and result["code"] == code and "\n" not in result["msg"]
