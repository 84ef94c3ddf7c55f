# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role image_cache, applied to a root tree as it is when an image or a container is built."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import tempfile
import typing as t
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorser.publish import PublishSpec, publish
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site import settings

pytestmark = pytest.mark.needs("root", "useradd", "groupadd", "/usr/bin/python3")

CHECKOUT = Path(__file__).resolve().parents[2]
ROLE = CHECKOUT / "roles" / "image_cache"
LIST = "5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3"
IMAGE = "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"
#: One that every user can run, which a Python in root's home is not.
PYTHON = "/usr/bin/python3"
RECAP = re.compile(r"localhost +: +ok=\d+ +changed=(\d+) +unreachable=0 +failed=0")
UNITS = "etc/systemd/system/hepix-vmimages"
#: Nothing to say about lists: the role's other work alone.
SILENT: dict[str, t.Any] = {
    "image_cache_endorsers": [],
    "image_cache_endorser_lists": [],
    "image_cache_subscriptions": [],
    "image_cache_decisions": [],
}


@dataclass
class Tree:
    """A root tree, the role's variables for it, and what came out of the runs so far."""

    root: Path
    playbook: Path
    variables: dict[str, t.Any]
    run_playbook: t.Any
    runs: dict[str, subprocess.CompletedProcess[str]] = field(default_factory=dict)

    def apply(self, *options: str, **variables: t.Any) -> subprocess.CompletedProcess[str]:
        """Apply the role; it must succeed without a warning."""
        given = json.dumps({**self.variables, **variables})
        done = self.run_playbook(self.playbook, "--diff", *options, "-e", given, timeout=900, ANSIBLE_PIPELINING="true")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "[WARNING]" not in done.stdout + done.stderr
        return t.cast("subprocess.CompletedProcess[str]", done)

    @property
    def state(self) -> Path:
        return self.root / "var/lib/hepix-vmimages"

    @property
    def numbers(self) -> tuple[int, int]:
        """The user's and the group's number in the tree."""
        (entry,) = [line for line in self.lines("etc/passwd") if line.startswith("vmimages:")]
        return int(entry.split(":")[2]), int(entry.split(":")[3])

    def commands(self, *services: str) -> list[list[str]]:
        """What the services start, in the tree, without their options for the state directory."""
        lines = [line for name in services for line in self.lines(f"{UNITS}-{name}.service")]
        words = [line.partition("=")[2].split() for line in lines if line.startswith("ExecStart=")]
        return [[found[0].lstrip("/"), *found[1:-2]] for found in words]

    def lines(self, name: str) -> list[str]:
        return (self.root / name).read_text().splitlines()

    def run(self, command: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command of the tree as the service does: as its user, with nothing in the environment."""
        user, group = self.numbers
        return subprocess.run(
            [self.root / command, *arguments],
            check=False,
            text=True,
            capture_output=True,
            user=user,
            group=group,
            extra_groups=[],
            env={"PATH": "/usr/bin:/bin"},
            cwd="/",
            timeout=120,
        )


def changes(done: subprocess.CompletedProcess[str]) -> int:
    recap = RECAP.search(done.stdout)
    assert recap is not None, done.stdout
    return int(recap.group(1))


def listing(root: Path) -> dict[str, tuple[int, int, int, int]]:
    """Every path with its mode, owner, group, and the time of its last change."""
    found = {}
    for path in root.rglob("*"):
        status = path.lstat()
        found[str(path.relative_to(root))] = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns)
    return found


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory that every user can look into, which pytest's own is not."""
    directory = Path(tempfile.mkdtemp(prefix="vmimages-role-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def subscription(place: Path, demo_ca: t.Any, demo_server: t.Any, now: t.Any) -> Iterator[dict[str, t.Any]]:
    """A published list of one image on a web server."""
    pki = demo_ca.DemoCA(place / "pki", now)
    pki.make()
    (place / "www").mkdir()
    (place / "worker.img").write_bytes(b"a worker" * 1000)
    with demo_server.serve(place / "www", pki.tls / "server.pem", pki.tls / "server.key") as server:
        options = {
            "identifier": LIST,
            "title": "Worker nodes",
            "uri": f"{server.uri}/images.list",
            "images": [
                {
                    "identifier": IMAGE,
                    "path": str(place / "worker.img"),
                    "uri": f"{server.uri}/{{identifier}}-{{version}}.img",
                    "title": "worker",
                    "format": "raw",
                }
            ],
            "certificate": str(pki.endorser.certificate_path),
            "private_key": str(pki.endorser.key_path),
            "history_dir": str(place / "history"),
            "uploads": [{"uri_match": f"{server.uri}/", "uri_replace": f"{place}/www/"}],
            "anchors": str(pki.certificates),
        }
        publish(PublishSpec.from_options(options), check=False, now=now)
        yield {
            "uri": options["uri"],
            "identifier": LIST,
            "endorsers": [{"dn": pki.endorser.dn, "ca": pki.endorser.ca}],
            "anchors": str(pki.certificates),
            "ca_path": str(pki.tls / "ca.pem"),
        }


@pytest.fixture(scope="module")
def fresh(place: Path, wheelhouse: Path, subscription: dict[str, t.Any], run_playbook: t.Any) -> Tree:
    """A tree with nothing but its accounts, and a play that applies the role to it."""
    root = place / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "etc/shadow").write_text("root:*:20000::::::\n")
    for name in ("usr/local/bin", "var/lib", "var/www", "opt"):
        (root / name).mkdir(parents=True)
    play = {
        "name": "Apply the role",
        "hosts": "localhost",
        "gather_facts": False,
        "roles": ["hepix.vmimages.image_cache"],
    }
    (place / "play.yml").write_text(yaml.safe_dump([play]))
    variables = {
        "image_cache_root": str(root),
        "image_cache_python": PYTHON,
        "image_cache_nagios_plugin": "/usr/lib/nagios/plugins/check_vmimages",
        "image_cache_wheelhouse": str(wheelhouse),
        "image_cache_site": "example-site",
        "image_cache_max_unrefreshed": "3d",
        "image_cache_report_html": "/var/www/vmimages/index.html",
        "image_cache_mail": {"from": "vmimages@example.org", "smtp": "localhost:25"},
        "image_cache_purge_expired": "14d",
        "image_cache_formats": ["raw"],
        "image_cache_quota": "1 TiB",
        "image_cache_keep_expired": "2d",
        "image_cache_scrub_rate": "50 MiB",
        "image_cache_endorsers": [{"name": "erin", "pairs": subscription["endorsers"]}],
        "image_cache_endorser_lists": [{"identifier": "7c1f0a52-0c55-4c5c-a7f1-2f3f3c1d5a90", "state": "absent"}],
        "image_cache_subscriptions": [{**subscription, "endorsers": [{"name": "erin"}]}],
        "image_cache_rules": [
            {
                "name": "huge",
                "decision": "blacklist",
                "match": {"size_min": "60 GiB"},
                "reason": "The disks are small.",
            },
            {"name": "raw", "decision": "approve", "match": {"list": subscription["uri"], "vo": "x"}},
        ],
        "image_cache_rules_author": "sally",
        "image_cache_decisions": [
            {"decision": "approve", "tags": ["worker"], "reason": "Tested."},
            {"decision": "approve", "whole_lists": [subscription["uri"]], "until": "2099-01-31T00:00:00Z"},
            {"decision": "run_anyway", "endorsers": subscription["endorsers"], "author": "sally"},
        ],
    }
    return Tree(root, place / "play.yml", variables, run_playbook)


@pytest.fixture(scope="module")
def tree(fresh: Tree) -> Tree:
    """The tree after: check, run, run again."""
    before = listing(fresh.root)
    fresh.runs["check"] = fresh.apply("--check")
    assert listing(fresh.root) == before, "check mode has changed something"
    fresh.runs["run"] = fresh.apply()
    fresh.runs["run again"] = fresh.apply()
    return fresh


def test_check_mode_works_on_a_fresh_tree_and_foretells_changes(tree: Tree) -> None:
    assert changes(tree.runs["check"]) > 0
    assert changes(tree.runs["run"]) > 0


def test_the_second_time_nothing_changes(tree: Tree) -> None:
    again = tree.runs["run again"]
    assert changes(again) == 0, again.stdout


def test_the_state_belongs_to_the_user_and_nothing_else_does(tree: Tree) -> None:
    user, _group = tree.numbers
    owned = {path for path, (_mode, uid, _gid, _time) in listing(tree.root).items() if uid == user}
    assert {path for path in owned if not path.startswith("var/lib/hepix-vmimages")} == {"var/www/vmimages"}
    others = {path.relative_to(tree.root) for path in tree.state.rglob("*")} - {Path(path) for path in owned}
    assert others == {Path("var/lib/hepix-vmimages/settings.json")}


def test_nothing_is_writable_for_others(tree: Tree) -> None:
    links = 0o120000
    found = {path: oct(mode) for path, (mode, *_rest) in listing(tree.root).items() if mode & 0o170000 != links}
    assert {path for path, mode in found.items() if int(mode, 8) & 0o022} == set()


def test_the_command_runs_from_the_tree(tree: Tree) -> None:
    told = tree.run("usr/local/bin/vmimages", "status", "--json", "--state-dir", tree.state)
    assert told.returncode == 0, told.stdout + told.stderr
    assert LIST in told.stdout
    # As root it acts as the owner of the state.
    command = [str(tree.root / "usr/local/bin/vmimages"), "rebuild", "--state-dir", str(tree.state)]
    subprocess.run(command, check=True, capture_output=True)
    assert {path.stat().st_uid for path in tree.state.glob("catalogue.sqlite*")} == {tree.numbers[0]}


def test_the_installed_package_is_the_collections_core(tree: Tree) -> None:
    (package,) = tree.root.glob("opt/hepix-vmimages/lib/python3.*/site-packages/vmimages")
    core = CHECKOUT / "plugins/module_utils/_core"
    installed = {path.relative_to(package): path.read_bytes() for path in package.rglob("*.py")}
    assert installed == {path.relative_to(core): path.read_bytes() for path in core.rglob("*.py")}


def test_the_service_fetches_lists_and_images(tree: Tree) -> None:
    # Its handlers and reports are those of the machine that the tree becomes.
    kept = (tree.state / "settings.json").rename(tree.root / "settings.json")
    ran = [tree.run(*command, "--state-dir", tree.state) for command in tree.commands("refresh", "sync")]
    kept.rename(tree.state / "settings.json")
    assert [done.returncode for done in ran] == [0, 0], [done.stdout + done.stderr for done in ran]
    verdict = tree.run("usr/local/bin/vmimages", "verdict", "--state-dir", tree.state, "worker")
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr
    (image,) = (tree.state / "cache/current").glob(f"{IMAGE}_*")
    assert image.read_bytes() == b"a worker" * 1000


def test_the_settings_are_read_by_the_command(tree: Tree) -> None:
    found = settings.load(tree.state)
    assert found.site == "example-site"
    assert found.events == settings.EventSettings(Path("/etc/hepix-vmimages/events.d"), timeout=60, attempts=5)
    assert found.mail is not None and found.mail.smtp == ("localhost", 25)
    assert found.reports.html == Path("/var/www/vmimages/index.html")
    assert (found.cache.quota, found.cache.keep_expired) == (1024**4, timedelta(days=2))
    assert (found.cache.scrub_rate, found.cache.min_free) == (50 * 1024**2, None)
    assert (tree.root / "etc/hepix-vmimages/events.d").is_dir()


def test_the_services_are_enabled_and_know_their_paths(tree: Tree) -> None:
    for name, command in (("refresh", "refresh"), ("purge", "purge --older 14d")):
        service = tree.lines(f"{UNITS}-{name}.service")
        command = f"/opt/hepix-vmimages/bin/vmimages {command} --state-dir /var/lib/hepix-vmimages"
        assert {"Type=oneshot", "User=vmimages", "Group=vmimages", f"ExecStart={command}"} <= set(service)
        assert [line for line in service if line.startswith("ReadWritePaths=")] == [
            "ReadWritePaths=/var/lib/hepix-vmimages",
            "ReadWritePaths=/var/www/vmimages",
        ]
    for name, schedule in (("refresh", "hourly"), ("sync", "*:00/15"), ("scrub", "daily"), ("purge", "daily")):
        timer = tree.lines(f"{UNITS}-{name}.timer")
        assert {f"OnCalendar={schedule}", "Persistent=true"} <= set(timer)
        assert any(line.startswith("RandomizedDelaySec=") for line in timer)
        wanted = tree.root / f"etc/systemd/system/timers.target.wants/hepix-vmimages-{name}.timer"
        assert wanted.readlink() == Path(f"/etc/systemd/system/hepix-vmimages-{name}.timer")
    # A list that fails does not keep the images of the others waiting.
    assert {"OnSuccess=hepix-vmimages-sync.service", "OnFailure=hepix-vmimages-sync.service"} <= set(
        tree.lines(f"{UNITS}-refresh.service")
    )
    units = [path for path in (tree.root / "etc/systemd/system").iterdir() if path.is_file()]
    assert len(units) == 8
    assert all(str(tree.root) not in path.read_text() for path in units)


@pytest.mark.needs("systemd-analyze")
def test_systemd_accepts_the_units_and_finds_them_hardened(tree: Tree) -> None:
    def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["systemd-analyze", "--no-pager", f"--root={tree.root}", *arguments]
        return subprocess.run(command, check=False, text=True, capture_output=True, timeout=60)

    names = [path.name for path in (tree.root / "etc/systemd/system").glob("hepix-vmimages-*")]
    verified = analyze("verify", "--man=no", "--recursive-errors=no", *names)
    assert (verified.returncode, verified.stderr) == (0, "")
    judged = analyze("security", "--offline=true", "--threshold=25", *(name for name in names if "service" in name))
    assert judged.returncode == 0, judged.stdout + judged.stderr


def test_what_was_changed_on_the_host_is_mended_and_a_former_environment_goes(tree: Tree) -> None:
    (package,) = tree.root.glob("opt/hepix-vmimages/lib/python3.*/site-packages/vmimages")
    genuine = (package / "errors.py").read_bytes()
    (package / "errors.py").write_text("raise SystemExit('broken')\n")
    (package / "stale.py").write_text("")
    # This one, and nothing else: so check mode also foretells that nothing would be changed.
    assert changes(tree.apply("--check", **SILENT)) == 1
    link = tree.root / "opt/hepix-vmimages"
    present = link.resolve()
    assert re.fullmatch(r"hepix-vmimages-py3\.[0-9]+-[0-9a-f]{12}", str(link.readlink()))
    # As another version left it: its environment, which the link leads to; and one that somebody still runs.
    former, running = (present.with_name(f"hepix-vmimages-py3.11-{digit * 12}") for digit in "01")
    for path in (former, running):
        path.mkdir()
    link.unlink()
    link.symlink_to(former.name)
    with subprocess.Popen(["/bin/sh", "-c", "read line", str(running)], stdin=subprocess.PIPE) as process:
        try:
            assert changes(tree.apply(**SILENT)) == 2
            assert link.resolve() == present
            assert (former.exists(), running.exists()) == (False, True)
        finally:
            process.kill()
    command = ["/usr/bin/python3", *map(str, (ROLE / "files/install.py", "switch", link, present))]
    assert subprocess.run(command, check=True, text=True, capture_output=True).stdout == f"{running} is removed\n"
    assert (present / package.relative_to(link) / "errors.py").read_bytes() == genuine
    assert not (present / package.relative_to(link) / "stale.py").exists()


def test_a_link_of_the_user_gives_nothing_away(tree: Tree) -> None:
    cache, elsewhere = tree.state / "cache", tree.root / "etc/secret"
    elsewhere.mkdir(mode=0o700)
    kept = cache.rename(tree.root / "cache")
    cache.symlink_to(elsewhere)
    given = json.dumps(tree.variables)
    done = tree.run_playbook(tree.playbook, "-e", given, ANSIBLE_PIPELINING="true")
    cache.unlink()
    kept.rename(cache)
    assert done.returncode != 0
    assert (elsewhere.stat().st_uid, elsewhere.stat().st_mode & 0o777) == (0, 0o700)
    elsewhere.rmdir()


def test_the_check_for_nagios_is_the_status_of_the_site(tree: Tree) -> None:
    text = (tree.root / "usr/lib/nagios/plugins/check_vmimages").read_text()
    assert 'exec /usr/local/bin/vmimages status --check --state-dir /var/lib/hepix-vmimages "$@"' in text


def test_taken_away_it_leaves_the_data_unless_told(tree: Tree) -> None:
    with tempfile.TemporaryDirectory(dir=tree.root.parent) as directory:
        copy = Path(directory) / "root"
        shutil.copytree(tree.root, copy, symlinks=True)
        gone = {"image_cache_root": str(copy), "image_cache_state": "absent"}
        kept = set(listing(copy / "var/lib/hepix-vmimages"))
        assert changes(tree.apply(**gone)) == 2
        assert set(listing(copy / "var/lib/hepix-vmimages")) == kept
        assert [path for path in sorted(copy.rglob("*vmimages*")) if "var/lib" not in str(path)] == [
            copy / "etc/hepix-vmimages",
            copy / "var/www/vmimages",
        ]
        assert changes(tree.apply(**gone)) == 0
        assert changes(tree.apply(**gone, image_cache_remove_data=True)) == 1
        assert list(copy.rglob("*vmimages*")) == [copy / "var/www/vmimages"]


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"image_cache_state_dir": "/home/vmimages"}, "outside of the homes"),
        ({"image_cache_mail": {"from": "a@example.org"}}, "needs either smtp or sendmail"),
        ({"image_cache_python": "/bin/false"}, "must be Python 3.9 or later"),
        ({"image_cache_web": True}, "Set image_cache_web_name"),
        ({"image_cache_relay": {"identifier": IMAGE}}, "image_cache_relay needs an identifier"),
        ({"image_cache_subscriptions": "none"}, "image_cache_subscriptions"),
    ],
    ids=["home", "mail", "python", "web", "relay", "type"],
)
def test_variables_that_cannot_be_are_refused_in_words(tree: Tree, variables: dict[str, t.Any], sentence: str) -> None:
    given = json.dumps({**tree.variables, **variables})
    done = tree.run_playbook(tree.playbook, "--check", "-e", given, ANSIBLE_PIPELINING="true")
    assert done.returncode != 0
    assert sentence in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("task", "module"),
    [
        ("Subscribe", "imagelist_subscribe"),
        ("Subscribe to lists of endorsers", "endorserlist_subscribe"),
        ("Declare the rules", "image_policy"),
        ("Decide", "image_decision"),
    ],
)
def test_the_role_hands_every_option_of_a_module_on(task: str, module: str) -> None:
    tasks = yaml.safe_load((ROLE / "tasks/lists.yml").read_text())[0]["block"]
    (given,) = [entry[f"hepix.vmimages.{module}"] for entry in tasks if entry["name"] == task]
    loaded = importlib.import_module(f"ansible_collections.hepix.vmimages.plugins.modules.{module}")
    assert set(loaded.ARGUMENTS) - set(given) == set()


def test_the_pinned_versions_satisfy_the_collection() -> None:
    from packaging.requirements import Requirement

    def read(path: Path) -> list[Requirement]:
        lines = path.read_text().splitlines()
        return [Requirement(line) for line in lines if line and not line.startswith("#")]

    pinned = read(ROLE / "files/requirements.txt")
    assert all(re.fullmatch(r"==[0-9.]+", str(one.specifier)) for one in pinned)
    for wanted in read(CHECKOUT / "requirements.txt"):
        found = [next(iter(one.specifier)).version for one in pinned if one.name == wanted.name]
        assert found and all(version in wanted.specifier for version in found)
