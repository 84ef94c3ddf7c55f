# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics of a site in Prometheus' text format, for the textfile collector of the node exporter.

Points in time are exported as such and not as ages, so that an alert still rises when nothing writes the file any more.
"""

from __future__ import annotations

import typing as t
from datetime import datetime

from .facts import ImageStatus, ListStatus, SiteStatus

#: Images without series of their own: nobody here wants them, and they may be many. They are counted all the same.
_UNWANTED: t.Final = frozenset({"not_approved", "unsubscribed"})

Value = t.Union[int, float, bool, datetime, None]
Sample = tuple[dict[str, str], Value]


def render(status: SiteStatus) -> str:
    """The whole file; samples without a value are left out."""
    families = [*_site(status), *_lists(status.lists), *_images(status.images)]
    return "".join(_family(name, text, samples) for name, text, samples in families)


def _site(status: SiteStatus) -> t.Iterator[tuple[str, str, list[Sample]]]:
    yield "snapshot_written_timestamp_seconds", "When the verdicts were recorded.", [({}, status.written)]
    yield "lists", "Subscribed image lists.", [({}, len(status.lists))]
    yield (
        "images",
        "Images by verdict.",
        [({"code": code}, count) for code, count in status.verdicts.items()],
    )


def _lists(lists: t.Sequence[ListStatus]) -> t.Iterator[tuple[str, str, list[Sample]]]:
    def each(name: str, text: str, value: t.Callable[[ListStatus], Value]) -> tuple[str, str, list[Sample]]:
        return f"list_{name}", text, [({"list": item.identifier}, value(item)) for item in lists]

    yield (
        "list_info",
        "What a subscribed list is called, where it comes from, and its accepted version.",
        [
            (
                {"list": item.identifier, "title": item.title, "uri": item.uri, "version": item.version or ""},
                1,
            )
            for item in lists
        ],
    )
    yield each("created_timestamp_seconds", "When the accepted version was created.", lambda item: item.created)
    yield each("expires_timestamp_seconds", "When the accepted version expires.", lambda item: item.expires)
    yield each("refreshed_timestamp_seconds", "When the list was last refreshed.", lambda item: item.refreshed)
    yield each(
        "max_unrefreshed_seconds",
        "How long the list may go without a refresh.",
        lambda item: None if item.limit is None else item.limit.total_seconds(),
    )
    yield each(
        "path_good_until_timestamp_seconds",
        "When the certification path of the accepted version ends.",
        lambda item: item.path_good_until,
    )
    yield each(
        "path_good", "Whether the accepted version still proves its signer.", lambda item: item.path_code is None
    )
    yield each("unrefreshed", "Alarm: the list was not refreshed for too long.", lambda item: item.has("unrefreshed"))
    yield each(
        "unauthenticated",
        "Warning: the list comes over a transport that does not prove its server.",
        lambda item: not item.authenticated,
    )
    yield (
        "list_problem",
        "Every problem of a list, by severity and code.",
        [
            ({"list": item.identifier, "severity": problem.severity, "code": problem.code}, 1)
            for item in lists
            for problem in {problem.code: problem for problem in item.problems}.values()
        ],
    )
    yield (
        "list_images",
        "Images of a list by verdict.",
        [({"list": item.identifier, "code": code}, count) for item in lists for code, count in item.verdicts.items()],
    )


def _images(images: t.Sequence[ImageStatus]) -> t.Iterator[tuple[str, str, list[Sample]]]:
    wanted = [(image, {"list": image.list_id, "image": image.identifier}) for image in images if _wanted(image)]
    yield (
        "image_info",
        "What an image is called, and its version. Images that the site has not approved have no series of their own.",
        [({**key, "title": image.title, "tag": image.tag, "version": image.version}, 1) for image, key in wanted],
    )
    yield "image_allowed", "Whether the image may run.", [(key, image.allowed) for image, key in wanted]
    yield (
        "image_verdict",
        "The image's verdict, by its code.",
        [({**key, "code": image.code}, 1) for image, key in wanted],
    )
    yield (
        "image_good_until_timestamp_seconds",
        "How long the verdict stands.",
        [(key, image.good_until) for image, key in wanted],
    )
    yield (
        "image_problem",
        "Alarm: the site wants the image, and it may not run.",
        [(key, image.state != "good") for image, key in wanted],
    )


def _wanted(image: ImageStatus) -> bool:
    return _UNWANTED.isdisjoint([image.code, *(code for code, _text in image.reasons)])


def _family(name: str, text: str, samples: t.Sequence[Sample]) -> str:
    whole = f"vmimages_{name}"
    lines = [f"# HELP {whole} {text}", f"# TYPE {whole} gauge"]
    lines += [f"{whole}{labels(given)} {_number(value)}" for given, value in samples if value is not None]
    return "".join(f"{line}\n" for line in lines)


def labels(values: t.Mapping[str, str]) -> str:
    """The labels of one sample, escaped."""
    if not values:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in values.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: Value) -> str:
    if isinstance(value, datetime):
        value = value.timestamp()
    return str(int(value or 0))
