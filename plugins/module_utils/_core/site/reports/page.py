# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status page: one static HTML file that needs nothing else, with every list, image, verdict and reason.

What is shown comes from strangers: it is escaped by `element`, set apart by ``bdi``, and the page's own policy forbids
scripts, and anything from elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import typing as t
from datetime import datetime

from .facts import ImageStatus, ListStatus, Problem, RuleStatus, Severity, SiteStatus
from .markup import Markup, element, join
from .style import STYLE
from .words import counted, moment, relative, span

#: How many images the page shows in all: a browser has to carry it. Problems come first, and all are counted.
MOST_IMAGES: t.Final = 2000
_UNFOLDED: t.Final = 100

_STATES: t.Final = {"critical": "Alarm", "warning": "Warning", "note": "Note", "good": "Good"}
_SIGNS: t.Final = {"critical": "\u2716", "warning": "\u26a0\ufe0e", "note": "\u2139\ufe0e", "good": "\u2714\ufe0e"}


def render(status: SiteStatus) -> str:
    """The whole page as of the status' time."""
    title = f"Virtual machine images of {status.site}" if status.site else "Virtual machine images"
    head = element(
        "head",
        Markup('<meta charset="utf-8">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_policy()}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="referrer" content="no-referrer">'),
        Markup('<link rel="icon" href="data:,">'),
        element("title", f"{_STATES[status.state]}: {title}"),
        element("style", Markup(STYLE)),
    )
    body = element("body", _header(status, title), element("main", _summary(status), _sections(status)))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _policy() -> str:
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"


def _header(status: SiteStatus, title: str) -> Markup:
    about = ["As of ", _time(status.now), "; all ages are as of then."]
    if status.written != status.now:
        about += [" The verdicts were recorded ", _when(status.written, status.now), "."]
    return element("header", element("h1", title), element("p", about, class_="faint"))


def _summary(status: SiteStatus) -> Markup:
    problems = [_problem(problem) for problem in status.problems]
    problems += [_in_short(item) for item in status.lists if item.state != "good"]
    return element(
        "section",
        element("div", element("h2", "Summary"), _state(status.state), class_="head"),
        element("ul", problems, class_="problems") if problems else None,
        _counts(status),
        class_="card",
        id="summary",
    )


def _in_short(item: ListStatus) -> Markup:
    """The worst of a list's problems, with a link to the list."""
    texts = [problem.text for problem in item.problems if problem.severity != "note"]
    stuck = sum(image.state != "good" for image in item.images)
    if stuck:
        texts.append(f"{counted(stuck, 'image')} that the site wants may not run.")
    more = f" {len(texts) - 1} more below." if len(texts) > 1 else ""
    link = element("a", element("bdi", item.title or item.identifier), href=f"#{item.identifier}")
    severity: Severity = "critical" if item.state == "critical" else "warning"
    return _problem(Problem(severity, "", f"{texts[0]}{more}"), link, ": ")


def _counts(status: SiteStatus) -> Markup:
    values = [
        counted(len(status.lists), "list"),
        counted(status.size, "image"),
        *(f"{count} {_words(code)}" for code, count in status.verdicts.items()),
    ]
    pairs = [value.split(" ", 1) for value in values]
    return element(
        "dl", [element("div", element("dt", name), element("dd", count)) for count, name in pairs], class_="counts"
    )


def _sections(status: SiteStatus) -> t.Iterator[Markup]:
    left = MOST_IMAGES
    for item in status.lists:
        shown = item.images[:left]
        left -= len(shown)
        yield _list(item, shown, status.now)
    if not status.lists:
        yield element("p", "No list is subscribed.", class_="card")
    if status.rules:
        yield _rules(status)
    if status.unsubscribed or status.others:
        head = element("div", element("h2", "Images of lists that are no longer subscribed"), class_="head")
        shown = status.unsubscribed[:left]
        yield element(
            "section",
            head,
            _images(status.unsubscribed, shown, status.others, status.now, unfold=False),
            class_="card",
            id="others",
        )


def _rules(status: SiteStatus) -> Markup:
    rows = [_rule(rule, status.now) for rule in status.rules]
    head = element("div", element("h2", "Rules of the site"), class_="head")
    return element("section", head, _table(("Rule", "Decision", "Images", "Until"), rows), class_="card", id="rules")


def _rule(rule: RuleStatus, now: datetime) -> Markup:
    name = [
        element("p", element("strong", element("bdi", rule.name))),
        element("p", "by ", element("bdi", rule.author), class_="faint"),
    ]
    like = [element("li", element("bdi", key), " ", element("code", element("bdi", text))) for key, text in rule.match]
    about = [element("ul", like)]
    if rule.spared:
        about.append(element("p", "but not ", element("bdi", ", ".join(rule.spared)), class_="faint"))
    if rule.reason:
        about.append(element("p", element("bdi", rule.reason)))
    cells = [
        element("td", name, role="cell"),
        element("td", _badge("settled", "\u2013", "ended" if rule.ended else _words(rule.decision)), role="cell"),
        element("td", about, role="cell"),
        _until(rule.until, now),
    ]
    return element("tr", cells, role="row")


def _table(names: t.Sequence[str], rows: t.Sequence[Markup]) -> Markup:
    heads = [element("th", name, role="columnheader", scope="col") for name in names]
    return element(
        "table",
        element("thead", element("tr", heads, role="row"), role="rowgroup"),
        element("tbody", rows, role="rowgroup"),
        role="table",
    )


def _until(until: datetime | None, now: datetime) -> Markup:
    if until is None:
        return element("td", role="cell")
    return element("td", _when(until, now), role="cell", data_label="Until")


def _list(item: ListStatus, shown: t.Sequence[ImageStatus], now: datetime) -> Markup:
    facts: list[tuple[str, t.Any]] = [
        ("Identifier", element("code", item.identifier)),
        ("Address", [element("code", element("bdi", item.uri)), "" if item.authenticated else " (not authenticated)"]),
        ("Version", element("bdi", item.version) if item.version else "none accepted"),
        ("Refreshed", _when(item.refreshed, now) if item.refreshed else "never"),
        ("May go unrefreshed for", span(item.limit) if item.limit is not None else "no limit is set"),
        ("Created", _when(item.created, now) if item.created else "\u2013"),
        ("Expires", _when(item.expires, now) if item.expires else "\u2013"),
        ("Certification path", _path(item, now)),
    ]
    unfold = len(item.images) <= _UNFOLDED or any(image.state != "good" for image in item.images)
    return element(
        "section",
        element("div", element("h2", element("bdi", item.title or item.identifier)), _state(item.state), class_="head"),
        element("ul", [_problem(problem) for problem in item.problems], class_="problems") if item.problems else None,
        element(
            "dl", [element("div", element("dt", name), element("dd", value)) for name, value in facts], class_="facts"
        ),
        _images(item.images, shown, item.others, now, unfold=unfold),
        class_="card",
        id=item.identifier,
    )


def _path(item: ListStatus, now: datetime) -> t.Any:
    if item.path_code:
        return f"refused: {_words(item.path_code)}"
    if item.path_good_until is None:
        return "\u2013"
    return ["good, ends " if now < item.path_good_until else "ended ", _when(item.path_good_until, now)]


def _images(
    images: t.Sequence[ImageStatus],
    shown: t.Sequence[ImageStatus],
    others: t.Mapping[str, int],
    now: datetime,
    *,
    unfold: bool,
) -> Markup:
    size = len(images) + sum(others.values())
    if not size:
        return element("p", "No image.", class_="faint")
    allowed = sum(image.allowed for image in images)
    table = _table(("Image", "Verdict", "Why", "Until"), [_row(image, now) for image in shown])
    missing = size - len(shown)
    more = f"{counted(missing, 'further image')} not shown here; vmimages status shows all." if missing else None
    if others:
        told = ", ".join(f"{count} {_words(code)}" for code, count in others.items())
        more = f"{more} Nobody here waits for these: {told}."
    return element(
        "details",
        element("summary", f"{counted(size, 'image')}, {allowed} may run"),
        table if shown else None,
        element("p", more, class_="faint") if more else None,
        open=unfold,
    )


def _row(image: ImageStatus, now: datetime) -> Markup:
    name = element("strong", element("bdi", image.title or image.tag or image.identifier))
    details = ["version ", element("bdi", image.version)]
    if image.tag not in ("", image.title):
        details += [", tag ", element("bdi", image.tag)]
    what = [
        element("p", name),
        element("p", details, class_="faint"),
        element("p", element("code", image.identifier), class_="faint"),
    ]
    why = [element("ul", [element("li", element("bdi", text)) for _code, text in image.reasons])]
    if image.state != "good" and image.remedy:
        why.append(element("p", _remedy(image.remedy), class_="faint"))
    if image.path:
        why.append(element("p", element("code", image.path), class_="faint"))
    cells = [
        element("td", what, role="cell"),
        element("td", _verdict(image), role="cell"),
        element("td", why, role="cell"),
        _until(image.good_until, now),
    ]
    return element("tr", cells, role="row")


def _remedy(text: str) -> list[str]:
    """Our own sentence, with its commands set as such."""
    return [element("code", part) if number % 2 else part for number, part in enumerate(text.split("`"))]


def _verdict(image: ImageStatus) -> Markup:
    kind = "good" if image.allowed else "settled" if image.state == "good" else image.state
    sign = {"good": _SIGNS["good"], "settled": "\u2013"}.get(kind) or _SIGNS[kind]
    return _badge(kind, sign, _words(image.code))


def _problem(problem: Problem, *about: t.Any) -> Markup:
    sign = f"{_SIGNS[problem.severity]} {_STATES[problem.severity]}: "
    return element("li", element("strong", sign), element("span", *about, problem.text), class_=problem.severity)


def _state(state: str) -> Markup:
    return _badge(state, _SIGNS[state], _STATES[state])


def _badge(kind: str, sign: str, words: str) -> Markup:
    return element("span", f"{sign} {words}", class_=f"state {kind}")


def _when(when: datetime, now: datetime) -> Markup:
    return join([relative(when, now), " ", element("span", "(", _time(when), ")", class_="faint")])


def _time(when: datetime) -> Markup:
    return element("time", moment(when), datetime=when.strftime("%Y-%m-%dT%H:%M:%SZ"))


def _words(code: str) -> str:
    return code.replace("_", " ")
