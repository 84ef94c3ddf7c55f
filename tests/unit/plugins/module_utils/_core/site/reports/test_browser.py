# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status page in a real browser: its elements, its width on a phone, and how it looks in light and in dark."""

from __future__ import annotations

import re
import struct
import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.reports import page
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.reports.facts import site_status

pytestmark = pytest.mark.needs("chromium")

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--allow-file-access-from-files",
)
DARK = ("--blink-settings=preferredColorScheme=0",)
PHONE = 360

#: Loads the page at a phone's width, since a window cannot be that narrow, and tells what reaches beyond it.
PROBE = f"""<!DOCTYPE html><meta charset="utf-8"><title>not measured</title>
<iframe src="page.html" width="{PHONE}" height="3000" style="border:0"></iframe>
<script>
addEventListener("load", () => {{
  const page = document.querySelector("iframe").contentDocument;
  const wide = [...page.body.querySelectorAll("*")].filter(
    (element) => element.getBoundingClientRect().right > {PHONE} || element.scrollWidth > Math.max({PHONE}, 1));
  const cells = [...page.querySelectorAll("td")].map((cell) => getComputedStyle(cell).display);
  document.title = [page.documentElement.scrollWidth, wide.length, new Set(cells).size, cells[0],
    "background", getComputedStyle(page.body).backgroundColor].join(" ");
}});
</script>
"""


class Browser:
    """Looks at one page, each time with a new empty profile."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._runs = 0

    def write(self, text: str, name: str = "page.html") -> None:
        (self.directory / name).write_text(text, encoding="utf-8")

    def dump(self, name: str = "page.html", *flags: str) -> str:
        """The document as the browser understood it."""
        return self._run(name, "--dump-dom", "--virtual-time-budget=5000", *flags)

    def look(self, width: int, *flags: str, name: str = "page.html") -> bytes:
        """A screenshot."""
        target = self.directory / f"{self._runs}.png"
        self._run(name, f"--screenshot={target}", f"--window-size={width},900", *flags)
        return target.read_bytes()

    def _run(self, name: str, *options: str) -> str:
        self._runs += 1
        profile = f"--user-data-dir={self.directory / f'profile-{self._runs}'}"
        command = ["chromium", *FLAGS, profile, *options, (self.directory / name).as_uri()]
        ended = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60)
        return ended.stdout


@pytest.fixture
def browser(tmp_path: Path, snapshots: t.Any) -> Browser:
    """A browser, and as page.html the page of a site in trouble, with titles that would break a layout or a page."""
    document = snapshots.trouble()
    hostile = snapshots.image(8, title="</bdi><script>document.title='hacked'</script>" + "W" * 500, tag="w" * 300)
    document["images"][hostile["identifier"]] = hostile
    browser = Browser(tmp_path)
    browser.write("", "empty.html")
    browser.write(page.render(site_status(document, snapshots.now, site="example-site")))
    return browser


def test_the_browser_finds_lists_and_images_and_runs_nothing(browser: Browser, snapshots: t.Any) -> None:
    document = browser.dump()
    assert "<title>Alarm: Virtual machine images of example-site</title>" in document
    assert len(re.findall(r'<section [^>]*class="card"', document)) == 5
    assert re.findall(r'<section [^>]*id="([^"]*)"', document)[1:3] == [snapshots.bad_list, snapshots.good_list]
    assert len(re.findall(r"<tr ", document)) == 8 + 3 + 3
    assert "&lt;script&gt;" in document and "<script" not in document


def test_nothing_overflows_a_phone(browser: Browser) -> None:
    browser.write(PROBE, "probe.html")
    title = re.search(r"<title>(.*?)</title>", browser.dump("probe.html"))
    assert title is not None
    assert title[1].startswith(f"{PHONE} 0 1 block ")


def test_the_probe_sees_an_overflow(browser: Browser) -> None:
    browser.write('<meta name="viewport" content="width=device-width"><p style="width:900px">x</p>')
    browser.write(PROBE, "probe.html")
    title = re.search(r"<title>(9\d\d) (\d+) ", browser.dump("probe.html"))
    assert title is not None and int(title[2]) > 0


@pytest.mark.parametrize("width", [1280, 500])
def test_the_page_is_seen_in_light_and_in_dark(browser: Browser, width: int) -> None:
    light, dark = browser.look(width), browser.look(width, *DARK)
    for octets in (light, dark):
        assert octets.startswith(b"\x89PNG\r\n\x1a\n")
        assert struct.unpack(">II", octets[16:24]) == (width, 900)
        assert len(octets) > 10 * len(browser.look(width, name="empty.html"))
    assert light != dark


@pytest.mark.parametrize(("flags", "colour"), [((), "rgb(244, 245, 247)"), (DARK, "rgb(20, 23, 27)")])
def test_the_readers_scheme_is_followed(browser: Browser, flags: tuple[str, ...], colour: str) -> None:
    browser.write(PROBE, "probe.html")
    assert f"background {colour}" in browser.dump("probe.html", *flags)
