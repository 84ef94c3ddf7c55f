# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A newcomer's test: the guides, command by command, from a fresh clone in an empty home."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from . import guides

pytestmark = pytest.mark.needs("git")

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = CHECKOUT / "docs" / "docsite" / "rst" / "guides"
REPOSITORY = "https://github.com/hepix-virtualisation/hepix.vmimages"


class Newcomer:
    """Somebody with an empty home, who knows nothing but the documentation."""

    def __init__(self, home: Path, environment: t.Mapping[str, str], port: int) -> None:
        self.home = home
        self.environment = {**environment, "HOME": str(home)}
        self.port = str(port)

    def follow(self, name: str, *, timeout: float) -> None:
        """Carry a guide out, in a new terminal with the environment active; every command does what the page shows."""
        page = (PAGES / f"{name}.rst").read_text(encoding="utf-8").replace("8443", self.port)
        wanted = guides.commands(page)
        if (self.home / "vmimages").exists():
            wanted = [guides.Command(". ~/vmimages/bin/activate"), *wanted]
        answers, errors = guides.run(wanted, self.home, self.environment, timeout=timeout)
        for command, answer in zip(wanted, answers):
            what = f"$ {command.text}\n" + "\n".join(answer.lines) + f"\n(exit code {answer.status})\n{errors}"
            assert (answer.status != 0) == command.fails, what
            assert not command.shown or guides.agrees(command.shown, answer.lines), what
        assert len(answers) == len(wanted), errors


def _environment() -> dict[str, str]:
    """That of this machine, which knows how it reaches a package index, without what would help with Ansible."""
    ours = ("ANSIBLE_", "HEPIX_", "PYTHON", "VIRTUAL_ENV", "XDG_")
    found = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    base = Path(getattr(sys, "_base_executable", sys.executable)).parent
    home = Path.home()
    found.setdefault("PIP_CACHE_DIR", str(home / ".cache" / "pip"))
    for config in (home / ".config" / "pip" / "pip.conf", home / ".pip" / "pip.conf"):
        if config.exists():
            found.setdefault("PIP_CONFIG_FILE", str(config))
    places = (str(base), "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
    quicker = {"ANSIBLE_PIPELINING": "true", "PIP_NO_COMPILE": "1"}
    return {**found, **quicker, "PATH": os.pathsep.join(places), "LC_ALL": "C.UTF-8"}


def _repository(directory: Path, environment: t.Mapping[str, str]) -> None:
    """A repository of the checkout as it is now, under the address that the guide names."""

    def git(*arguments: str | Path) -> None:
        subprocess.run(["git", *map(str, arguments)], check=True, env=dict(environment), cwd=CHECKOUT)

    home = Path(environment["HOME"])
    git("init", "--quiet", "--bare", directory)
    git("config", "--global", f"url.{directory.as_uri()}.insteadOf", REPOSITORY)
    git("config", "--global", "user.name", "A test")
    git("config", "--global", "user.email", "test@example.org")
    here = ("--git-dir", directory, "--work-tree", CHECKOUT, "-c", "core.bare=false")
    git(*here, "add", "--all")
    git(*here, "commit", "--quiet", "--message", "The checkout as it is")
    assert (home / ".gitconfig").exists()


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Newcomer]:
    home = tmp_path_factory.mktemp("home")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    found = Newcomer(home, _environment(), port)
    _repository(tmp_path_factory.mktemp("repository") / "checkout.git", found.environment)
    yield found
    (home / "practice" / "port").unlink(missing_ok=True)


# One after the other, as a newcomer reads them.


def test_the_installation(newcomer: Newcomer) -> None:
    newcomer.follow("installation", timeout=400)


def test_the_endorsers_guide(newcomer: Newcomer) -> None:
    newcomer.follow("endorser", timeout=400)


def test_the_site_operators_guide(newcomer: Newcomer) -> None:
    newcomer.follow("site_operator", timeout=400)
    assert not (newcomer.home / "practice" / "port").exists()


@pytest.mark.needs("root", "mke2fs", "sfdisk", "mount", "fstrim", "/dev/loop-control")
def test_the_image_builders_guide(newcomer: Newcomer) -> None:
    newcomer.follow("image_builder", timeout=400)


def test_the_tour_of_the_readme_is_taken_from_the_guides() -> None:
    told = {
        (command.text, command.shown)
        for name in ("endorser", "site_operator")
        for command in guides.commands((PAGES / f"{name}.rst").read_text(encoding="utf-8"))
    }
    tour = (CHECKOUT / "README.md").read_text(encoding="utf-8").partition("## Sixty seconds")[2].partition("\n## ")[0]
    shown = [
        command
        for block in re.findall(r"```console\n(.*?)\n```", tour, re.DOTALL)
        for command in guides.typed(block.split("\n"))
    ]
    assert len(shown) >= 5
    assert [command for command in shown if (command.text, command.shown) not in told] == []


def test_what_is_shown_can_differ() -> None:
    shown = ("begin", "...", "the end is ... here")
    assert guides.agrees(shown, ("begin", "the end is now and here"))
    assert guides.agrees(shown, ("begin", "more", "and more", "the end is now and here"))
    assert not guides.agrees(shown, ("begin", "the end is near"))
    assert not guides.agrees(shown, ("begin", "the end is now and here", "more"))
