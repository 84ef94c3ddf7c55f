# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of a site: read strictly, and only from a file that nobody else can write."""

from __future__ import annotations

import json
import typing as t
from datetime import timedelta
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import SiteError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site import settings

MAIL = {"from": "vmimages@example.org", "smtp": "localhost:25"}


def _write(state: Path, text: str, *, mode: int = 0o644) -> None:
    (state / "settings.json").write_text(text, encoding="utf-8")
    (state / "settings.json").chmod(mode)


def test_without_a_file_nothing_is_set(tmp_path: Path) -> None:
    assert settings.load(tmp_path) == settings.Settings()


def test_every_setting_is_read(tmp_path: Path) -> None:
    document = {
        "site": "example-site",
        "events": {"directory": "/etc/hepix-vmimages/events.d", "timeout": 30, "attempts": 7},
        "mail": {"from": "vmimages@example.org", "sendmail": "/usr/sbin/sendmail", "copy_to": ["vo@example.org"]},
        "max_unrefreshed": "3d",
        "reports": {"html": "/var/www/index.html", "prometheus": "/var/lib/vmimages.prom"},
    }
    _write(tmp_path, json.dumps(document))
    assert settings.load(tmp_path) == settings.Settings(
        site="example-site",
        events=settings.EventSettings(Path("/etc/hepix-vmimages/events.d"), 30, 7),
        mail=settings.MailSettings(
            "vmimages@example.org", sendmail=Path("/usr/sbin/sendmail"), copy_to=("vo@example.org",)
        ),
        max_unrefreshed=timedelta(days=3),
        reports=settings.ReportSettings(Path("/var/www/index.html"), Path("/var/lib/vmimages.prom")),
    )


@pytest.mark.parametrize(
    "text, server",
    [("mail", ("mail", 25)), ("mail.example.org:587", ("mail.example.org", 587)), ("[::1]:2525", ("::1", 2525))],
)
def test_a_mail_server_is_a_host_with_or_without_a_port(text: str, server: tuple[str, int]) -> None:
    read = settings.parse({"mail": {**MAIL, "smtp": text}})
    assert read.mail is not None and read.mail.smtp == server


@pytest.mark.parametrize(
    "document, option",
    [
        ([], ""),
        ({"sight": "x"}, "sight"),
        ({"site": "two\nlines"}, "site"),
        ({"site": 7}, "site"),
        ({"events": []}, "events"),
        ({"events": {}}, "events.directory"),
        ({"events": {"directory": "events.d"}}, "events.directory"),
        ({"events": {"directory": "/e", "timeout": "60"}}, "events.timeout"),
        ({"events": {"directory": "/e", "timeout": 0}}, "events.timeout"),
        ({"events": {"directory": "/e", "attempts": True}}, "events.attempts"),
        ({"events": {"directory": "/e", "retries": 5}}, "events.retries"),
        ({"mail": {**MAIL, "from": "a@b\nBcc: c@d"}}, "mail.from"),
        ({"mail": {**MAIL, "sendmail": "/usr/sbin/sendmail"}}, "mail.smtp"),
        ({"mail": {"from": "a@example.org"}}, "mail.smtp"),
        ({"mail": {**MAIL, "smtp": "::1"}}, "mail.smtp"),
        ({"mail": {**MAIL, "smtp": "localhost:0"}}, "mail.smtp"),
        ({"mail": {**MAIL, "copy_to": ["-oQ/tmp@example.org"]}}, "mail.copy_to"),
        ({"max_unrefreshed": "three days"}, "max_unrefreshed"),
        ({"reports": {"html": "index.html"}}, "reports.html"),
    ],
)
def test_a_wrong_setting_is_named(document: t.Any, option: str) -> None:
    with pytest.raises(SiteError) as caught:
        settings.parse(document)
    assert (caught.value.code, caught.value.context["option"]) == ("settings_invalid", option)


@pytest.mark.parametrize("text", ["", "{", '{"site": "a", "site": "b"}', "[" * 50000, '{"x": "' + "y" * 70000 + '"}'])
def test_what_is_no_document_is_refused_with_the_files_name(tmp_path: Path, text: str) -> None:
    _write(tmp_path, text)
    with pytest.raises(SiteError) as caught:
        settings.load(tmp_path)
    assert caught.value.code == "settings_invalid"
    assert str(tmp_path / "settings.json") in caught.value.detail


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_file_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    _write(tmp_path, "{}", mode=mode)
    with pytest.raises(SiteError) as caught:
        settings.load(tmp_path)
    assert caught.value.code == "settings_unsafe"


def test_something_else_in_the_files_place_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "settings.json").mkdir()
    with pytest.raises(SiteError) as caught:
        settings.load(tmp_path)
    assert caught.value.code == "settings_invalid"
