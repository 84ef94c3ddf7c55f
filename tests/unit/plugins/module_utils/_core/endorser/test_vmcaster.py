# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""vmcaster's configuration file as it is."""

from __future__ import annotations

import pathlib

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorser.declared.vmcaster import read_configuration
from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.upload.base import Settings
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.upload.rules import target_for

EXAMPLE = """
[example.org]
server = "www.example.org"
protocol = "scp"
uriMatch = "https://www.example.org/repos/prod/vmcaster"
uriReplace = "user_name@www.example.org:/export/example.org/prod/vmcaster"

[foo]
server = "gridvirt.example.org"
protocol = "local"
uriMatch = "https://gridvirt.example.org/"
uriReplace = "/tmp/"

[appdb]
server = "vmcaster.appdb.example.org"
protocol = "egiappdb"
uriMatch = ".*"
uriReplace = "egiappdb://erin@vmcaster.appdb.example.org/vmlist/submit/sso/"
"""


def read(tmp_path: pathlib.Path, text: str) -> list[tuple[str, str]]:
    (tmp_path / "vmcaster.cfg").write_text(text)
    rules = read_configuration(tmp_path / "vmcaster.cfg", Settings())
    found = []
    for uri in (
        "https://www.example.org/repos/prod/vmcaster/a/list",
        "https://gridvirt.example.org/image.img",
        "https://vmcaster.appdb.example.org/store/vo/image.list",
    ):
        rule, target = target_for(uri, rules)
        found.append((rule.method, target))
    return found


def test_the_manuals_examples_lead_where_vmcaster_wrote(tmp_path: pathlib.Path) -> None:
    assert read(tmp_path, EXAMPLE) == [
        ("scp", "user_name@www.example.org:/export/example.org/prod/vmcaster/a/list"),
        ("local", "/tmp/image.img"),
        ("egiappdb", "egiappdb://erin@vmcaster.appdb.example.org/vmlist/submit/sso/"),
    ]


def test_a_section_for_everything_takes_only_what_is_its_servers(tmp_path: pathlib.Path) -> None:
    first, rest = EXAMPLE.split("[foo]")
    appdb = rest[rest.index("[appdb]") :]
    local = rest[: rest.index("[appdb]")]
    assert [method for method, _target in read(tmp_path, f"{appdb}\n{first}\n[foo]{local}")] == [
        "scp",
        "local",
        "egiappdb",
    ]


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (EXAMPLE.replace('"scp"', '"gsidcap"'), "upload_method_gone", "webdav"),
        (EXAMPLE.replace('"scp"', '"gopher"'), "publish_invalid", "[example.org]"),
        (EXAMPLE.replace('"scp"', "scp"), "publish_invalid", "double quotes"),
        (EXAMPLE.replace('server = "www.example.org"', ""), "publish_invalid", "no server"),
        ("no section", "publish_invalid", "INI"),
        ("\udcff", "publish_invalid", "INI"),
    ],
)
def test_what_cannot_be_used_is_said_with_its_place(tmp_path: pathlib.Path, text: str, code: str, words: str) -> None:
    (tmp_path / "vmcaster.cfg").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(VmimagesError) as caught:
        read_configuration(tmp_path / "vmcaster.cfg", Settings())
    assert caught.value.code == code
    assert words in caught.value.detail
    assert str(tmp_path / "vmcaster.cfg") in caught.value.detail
