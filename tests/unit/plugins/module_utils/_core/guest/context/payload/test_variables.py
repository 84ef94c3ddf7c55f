# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""context.sh hands every value to every shell as it is, and executes nothing."""

from __future__ import annotations

import subprocess
import typing as t
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.context.payload import variables

HOSTILE = {
    "QUOTE": "it's 'quoted' and \"doubly\"",
    "NEWLINES": "first\nPATH=/tmp\nsecond\n\n",
    "SUBSTITUTION": "$(touch executed) `touch executed` ${HOME} $HOME",
    "BREAKOUT": "'; touch executed; '",
    "BACKSLASHES": "\\ \\' \\n \\",
    "CRLF": "a\r\nb\r",
    "COMMENT": "# not one",
    "EMPTY": "",
    "UNICODE": "Zürich \u2028 \U0001f40d",
    "CONTROL": "\x01\x1b[31m\x7f",
    "GLOB": "* ? [a-z] ~ {a,b} !x",
}
SHELLS = [
    pytest.param(["dash"], marks=pytest.mark.needs("dash")),
    pytest.param(["bash"], marks=pytest.mark.needs("bash")),
    pytest.param(["bash", "--posix"], marks=pytest.mark.needs("bash")),
    pytest.param(["busybox", "sh"], marks=pytest.mark.needs("busybox")),
]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_that_sources_it_has_every_value_and_executed_nothing(shell: list[str], tmp_path: Path) -> None:
    (tmp_path / "context.sh").write_bytes(variables.write_context(HOSTILE))
    show = "".join(f'printf "%s\\0" "${name}"; ' for name in HOSTILE)
    done = subprocess.run(
        [*shell, "-c", f". ./context.sh; {show}"], cwd=tmp_path, check=True, capture_output=True, timeout=10
    )
    assert done.stdout.decode().split("\0")[:-1] == list(HOSTILE.values())
    assert [path.name for path in tmp_path.iterdir()] == ["context.sh"]


@given(st.dictionaries(st.sampled_from(["A", "B_2", "LONG_NAME"]), st.text(st.characters(codec="utf-8"))))
@settings(max_examples=200, deadline=None)
def test_what_is_written_is_read_again(values: dict[str, str]) -> None:
    expected = {name: value.replace("\r\n", "\n") for name, value in values.items()}
    assert variables.read_context(variables.write_context(values)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1\nB='x y'\n", {"A": "1", "B": "x y"}),
        ('# Context variables\nVMID="7"\nexport TTL="2"\n', {"VMID": "7", "TTL": "2"}),
        ('A="a \\"b\\" \\$c"\r\nB=2\r\n', {"A": 'a "b" $c', "B": "2"}),
        ("", {}),
    ],
)
def test_what_others_write_is_read(text: str, expected: dict[str, str]) -> None:
    assert variables.read_context(text.encode()) == expected


@pytest.mark.parametrize("text", ["A=$(id)", "A=`id`", 'A="$B"', "rm -rf /", "A=1 | sh", "A='open", 'A="open'])
def test_what_does_more_than_assigning_is_not_read(text: str) -> None:
    assert variables.read_context(text.encode()) is None


@pytest.mark.parametrize(
    "name", ["PATH", "path", "IFS", "ENV", "BASH_ENV", "LD_PRELOAD", "PS4", "PERL5OPT", "PYTHONPATH", "HOME", "UID"]
)
def test_a_name_that_steers_a_shell_or_a_loader_is_refused(workshop: t.Any, name: str) -> None:
    refusal = workshop.refused(variables={name: "x"})
    assert refusal.code == "variable_forbidden"
    assert name.upper() in refusal.detail


@pytest.mark.parametrize("name", ["1A", "A-B", "A B", "", "Ä", "A;id", "A\nB", "\u017f"])
def test_what_is_no_name_is_refused(workshop: t.Any, name: str) -> None:
    assert workshop.refused(variables={name: "x"}).code == "variable_invalid"


@pytest.mark.parametrize("value", [False, True, None, ["a"], {"a": "b"}, "a\0b"])
def test_a_value_that_is_neither_text_nor_number_is_refused(workshop: t.Any, value: t.Any) -> None:
    assert workshop.refused(variables={"AFS": value}).code == "variable_invalid"


def test_names_that_differ_by_their_case_only_are_refused(workshop: t.Any) -> None:
    assert workshop.refused(variables={"afs": "on", "AFS": "off"}).code == "variable_invalid"


def test_an_option_and_a_variable_do_not_contradict_each_other(workshop: t.Any) -> None:
    assert workshop.refused(variables={"TTL": 2}, ttl_hours=48).code == "variable_invalid"
    assert workshop.report(variables={"TTL": 48}, ttl_hours=48)["variables"]["TTL"] == "48"


def test_the_published_variables_come_from_their_options(workshop: t.Any) -> None:
    """X14: the names that the role's hooks and the readers know."""
    found = workshop.report(
        instance_id="vm-7",
        hostname="wn.example.org",
        ssh_authorized_keys=["ssh-ed25519 AAAA a", "ssh-ed25519 BBBB b"],
        payload_user="grid",
        ttl_hours=48,
        variables={"nfs_server_ip": "192.0.2.1", "vmid": 7},
    )["variables"]
    keys = "ssh-ed25519 AAAA a\nssh-ed25519 BBBB b"
    assert found == {
        "HEPIX_INSTANCE_ID": "vm-7",
        "HOSTNAME": "wn.example.org",
        "NFS_SERVER_IP": "192.0.2.1",
        "PAYLOAD_USER": "grid",
        "SET_HOSTNAME": "wn.example.org",
        "SSH_PUBLIC_KEY": keys,
        "SSH_PUB_KEY": keys,
        "TTL": "48",
        "VMID": "7",
    }
