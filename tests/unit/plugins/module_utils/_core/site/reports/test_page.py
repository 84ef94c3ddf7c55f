# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status page as a text: whole, on its own, and harmless whatever the lists say."""

from __future__ import annotations

import re
import typing as t
from datetime import timedelta
from html.parser import HTMLParser

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.reports import page
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.reports.facts import site_status
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.reports.style import STYLE
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.reports.words import one_line

#: Elements without an end tag.
VOID = {"meta", "link"}

HOSTILE = [
    "<script>document.title='x'</script>",
    "</style></title></bdi><img src=x onerror=alert(1)>",
    '"><a href="javascript:alert(1)">x</a>',
    "' onmouseover='alert(1)",
    "<!-- ",
    "]]> &lt;b&gt; &amp;",
    "\u202egnp.exe\u2066",
    "\x1b[2J\r\n\x00",
    "W" * 10000,
]


class Page(HTMLParser):
    """What a page consists of: elements, attributes and text; each element must be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)

    @property
    def names(self) -> set[str]:
        return {name for name, _attributes in self.elements}


def show(snapshots: t.Any, document: t.Any, **options: t.Any) -> Page:
    return Page(page.render(site_status(document, snapshots.now, **options)))


def test_the_page_shows_lists_images_verdicts_reasons_and_ages(snapshots: t.Any) -> None:
    shown = show(snapshots, snapshots.trouble(), site="example-site").text
    for text in (
        "Virtual machine images of example-site",
        "Worker nodes",
        "Zoo",
        "The list was not refreshed for 5 d 3 h; the limit is 1 d.",
        "There is no CRL of /CN=Root.",
        "The sentence for withdrawn.",
        "3 h 5 min ago (2026-03-10 08:55 UTC)",
        "http://example.org/zoo",
        "not authenticated",
        "file changed",
        "2 images, 0 may run",
        "/var/lib/hepix-vmimages/cache/current/00000001-9ab1-4fc8-a7ba-b7a5428ecb3d-1",
    ):
        assert text in shown


def test_lists_with_problems_come_first(snapshots: t.Any) -> None:
    sections = [
        attributes.get("id") for name, attributes in show(snapshots, snapshots.trouble()).elements if name == "section"
    ]
    assert sections == ["summary", snapshots.bad_list, snapshots.good_list, "rules", "others"]


def test_the_page_needs_nothing_else(snapshots: t.Any) -> None:
    shown = show(snapshots, snapshots.trouble())
    assert shown.names.isdisjoint({"script", "img", "iframe", "object", "embed", "base", "form", "svg"})
    links = [
        value for _name, attributes in shown.elements for key, value in attributes.items() if key in ("href", "src")
    ]
    assert set(links) == {"data:,", f"#{snapshots.bad_list}", f"#{snapshots.good_list}"}
    style = shown.texts[1] + shown.texts[2]
    assert "url(" not in style and "@import" not in style
    policies = [attributes["content"] or "" for _name, attributes in shown.elements if "http-equiv" in attributes]
    assert len(policies) == 1 and policies[0].startswith("default-src 'none'; ")


def test_the_page_shows_rules_and_what_is_decided_about_whole_lists(snapshots: t.Any) -> None:
    decided = [
        snapshots.decision(),
        snapshots.decision(target_type="endorser", target="erin", decision="approve", reason=""),
        snapshots.decision(until="2026-03-10T12:00:00Z", reason="a slip"),
    ]
    rules = [snapshots.rule(), snapshots.rule(name="old", until="2026-03-10T12:00:00Z")]
    document = snapshots.document({snapshots.good_list: snapshots.list(decisions=decided)}, rules=rules)
    text = " ".join(show(snapshots, document).text.split())
    assert "The list was blacklisted by sam: a hole." in text
    assert "The endorser erin was approved by sam." in text and "a slip" not in text
    for part in ("end of life", "by sally", "os SL 5* or CentOS 5*", "size_min 1024", "ad:group batch*", "No updates"):
        assert part in text
    assert "but not 00000001-9ab1-4fc8-a7ba-b7a5428ecb3d" in text
    assert text.count("ended") == 1


@pytest.mark.parametrize("words", HOSTILE)
def test_strangers_words_are_only_words(snapshots: t.Any, words: str) -> None:
    def made(words: str) -> Page:
        images = [
            snapshots.image(1, title=words, tag=f"tag {words}", version=words),
            snapshots.image(2, "not_cached", text=words, title=words),
        ]
        item = snapshots.list(
            title=words,
            version=words,
            uri=f"https://example.org/{words}",
            error={"code": "timeout", "detail": words},
            decisions=[snapshots.decision(reason=words, author=words, target=words, target_type="endorser")],
            path={"code": "revoked", "detail": words, "good_until": None},
        )
        match = {"os": [words, "x"], "metadata": {words: words}}
        rule = snapshots.rule(name=words, author=words, reason=words, match=match, **{"except": [words]})
        return show(snapshots, snapshots.document({snapshots.good_list: item}, images, rules=[rule]), site=words)

    hostile, harmless = made(words), made("harmless")
    assert hostile.elements == harmless.elements
    assert one_line(words, 100)[:99] in hostile.text
    assert all(character.isprintable() or character == "\n" for character in hostile.text)


def test_a_page_can_be_carried_by_a_browser(snapshots: t.Any) -> None:
    images = [snapshots.image(number, "not_approved") for number in range(page.MOST_IMAGES + 500)]
    images.append(snapshots.image(9999, "not_cached"))
    document = snapshots.document(images=images)
    shown = show(snapshots, document)
    assert sum(name == "tr" for name, _attributes in shown.elements) == page.MOST_IMAGES + 1
    assert "501 further images not shown here" in shown.text
    assert "2501 images, 0 may run" in shown.text
    assert images[-1]["identifier"] in shown.text


def test_the_page_says_of_when_the_verdicts_are(snapshots: t.Any) -> None:
    status = site_status(snapshots.document(), snapshots.now + timedelta(hours=2))
    assert "The verdicts were recorded 2 h ago (2026-03-10 12:00 UTC)." in Page(page.render(status)).text


def test_a_site_without_lists_says_so(snapshots: t.Any) -> None:
    assert "No list is subscribed." in show(snapshots, snapshots.document({})).text


def colours(block: str) -> dict[str, float]:
    """The relative luminance of every colour that a block of the style names (WCAG 2.2)."""

    def linear(octet: str) -> float:
        value = int(octet, 16) / 255
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    found = re.findall(r"--([a-z-]+): #([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2});", block)
    return {name: 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b) for name, r, g, b in found}


@pytest.mark.parametrize("scheme", [0, 1])
def test_every_text_stands_out_from_what_is_behind_it(scheme: int) -> None:
    found = colours(STYLE.split("@media (prefers-color-scheme: dark)")[scheme])
    pairs = [(text, back) for text in ("text", "faint") for back in ("page", "card")]
    for name in ("good", "warning", "critical", "settled"):
        pairs += [(name, f"{name}-back"), ("text", f"{name}-back")]
    for text, back in pairs:
        lighter, darker = sorted((found[text], found[back]), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (text, back)
