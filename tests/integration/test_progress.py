# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Live progress in an ordinary playbook: lines while an image comes, the module's own result, no job left over."""

from __future__ import annotations

import functools
import getpass
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import typing as t
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

LIST = "5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3"
IMAGE = "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"
SIZE = 3 * 1024 * 1024
LINE = re.compile(r"^(\S+): worker \(2b9e4f2c\): downloading, .* of 3.0 MiB.*$", re.MULTILINE)


class _Slow(SimpleHTTPRequestHandler):
    """Images come slowly: half a mebibyte a second."""

    rate = 512 * 1024

    def copyfile(self, source: t.Any, outputfile: t.Any) -> None:
        while octets := source.read(16 * 1024):
            outputfile.write(octets)
            if self.path.endswith(".img"):
                time.sleep(len(octets) / self.rate)

    def log_message(self, format: str, *args: t.Any) -> None:
        """Nothing."""


class _Site:
    """An endorser's slow server, a site that has approved its image, and a playbook that caches it."""

    def __init__(self, place: Path, environment: dict[str, str]) -> None:
        self.place = place
        self.environment = environment

    @property
    def state_dir(self) -> Path:
        return self.place / "state"

    def playbook(self, *tasks: dict[str, t.Any], **keywords: t.Any) -> Path:
        play = {"name": "Progress", "hosts": "all", "gather_facts": False, "tasks": list(tasks), **keywords}
        path = self.place / "play.yml"
        path.write_text(yaml.safe_dump([play]))
        return path

    def cache(self, **keywords: t.Any) -> dict[str, t.Any]:
        options = keywords.pop("options", {})
        task = {"name": "Cache", "hepix.vmimages.image_cache": {"state_dir": str(self.state_dir), **options}}
        return {**task, "register": "found", **keywords}

    def start(self, playbook: Path, *options: str) -> subprocess.Popen[str]:
        command = [str(Path(sys.executable).with_name("ansible-playbook")), str(playbook), "-i", "localhost,"]
        connection = ["-c", "local", "-e", json.dumps({"ansible_python_interpreter": sys.executable})]
        return subprocess.Popen(
            [*command, *(options or connection)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )

    def run(self, playbook: Path, *options: str) -> tuple[str, str]:
        with self.start(playbook, *options) as process:
            out, error = process.communicate(timeout=120)
        assert process.returncode == 0, out + error
        assert "[WARNING]" not in out + error
        return out, error

    def jobs(self) -> list[int]:
        """The processes of the module that work for this site."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                text = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            if "AnsiballZ_image_cache" in text and str(self.place) in text + _environment(path.parent):
                found.append(int(path.parent.name))
        return found

    def progress(self) -> list[Path]:
        return sorted(path for path in (self.state_dir / "progress").glob("*") if not path.name.startswith("."))


def _environment(process: Path) -> str:
    try:
        return (process / "environ").read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


@pytest.fixture(scope="module")
def published(
    demo_ca: t.Any, now: t.Any, ansible_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[_Site]:
    """A subscribed site with nothing in its cache, to be copied."""
    place = tmp_path_factory.mktemp("published")
    pki = demo_ca.DemoCA(place / "pki", now)
    pki.make()
    www = place / "www"
    www.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Slow, directory=str(www)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    uri = f"http://127.0.0.1:{server.server_port}"
    (place / "worker.img").write_bytes(os.urandom(SIZE))
    made = _Site(place, ansible_environment)
    publish = {
        "identifier": LIST,
        "uri": f"{uri}/images.list",
        "title": "Worker nodes",
        "images": [
            {"identifier": IMAGE, "path": str(place / "worker.img"), "uri": f"{uri}/worker.img", "title": "worker"}
        ],
        "certificate": str(pki.endorser.certificate_path),
        "private_key": str(pki.endorser.key_path),
        "anchors": str(pki.certificates),
        "history_dir": str(place / "history"),
        "uploads": [{"uri_match": f"{uri}/", "uri_replace": f"{www}/"}],
    }
    subscribe = {
        "uri": f"{uri}/images.list",
        "identifier": LIST,
        "endorsers": [{"dn": pki.endorser.dn, "ca": pki.endorser.ca}],
        "anchors": str(pki.certificates),
        "new_images": "cache",
        "state_dir": str(made.state_dir),
    }
    made.run(
        made.playbook(
            {"name": "Publish", "hepix.vmimages.imagelist_publish": publish},
            {"name": "Subscribe", "hepix.vmimages.imagelist_subscribe": subscribe},
        )
    )
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def site(published: _Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Site:
    monkeypatch.setattr(_Slow, "rate", 512 * 1024)
    shutil.copytree(published.state_dir, tmp_path / "state")
    environment = {**published.environment, "ANSIBLE_ASYNC_DIR": str(tmp_path / "jobs"), "VMIMAGES_TEST": str(tmp_path)}
    return _Site(tmp_path, environment)


def _wait(condition: t.Callable[[], t.Any], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _assert(*conditions: str) -> dict[str, t.Any]:
    return {"name": "Look", "ansible.builtin.assert": {"that": list(conditions)}}


GOOD = (
    "found is changed",
    "found.downloaded | length == 1",
    "found.downloaded[0].seconds > 3",
    "found.downloaded[0].resumed_from == 0",
    "found.ansible_job_id is not defined and found.finished is not defined and found.started is not defined",
    "found.diff is defined",
)


def test_lines_tell_how_far_an_image_is_and_the_result_is_the_module_s(site: _Site) -> None:
    _out, error = site.run(site.playbook(site.cache(diff=True), _assert(*GOOD)))
    lines = LINE.findall(error)
    assert 2 <= len(lines) <= 6 and set(lines) == {"localhost"}, error
    assert site.progress() == []
    # Ansible's own watcher of a job looks every five seconds whether it has ended.
    _wait(lambda: not site.jobs(), 15)
    assert list((site.place / "jobs").iterdir()) == []
    _out, error = site.run(site.playbook(site.cache(), _assert("found is not changed")))
    assert not LINE.search(error)


@pytest.mark.parametrize("how", ["check", "async", "variable"])
def test_it_is_any_other_module_where_no_lines_are_wanted(
    site: _Site, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Slow, "rate", SIZE)
    options: dict[str, dict[str, t.Any]] = {
        "check": {"check_mode": True},
        "async": {"async": 60, "poll": 1},
        "variable": {"vars": {"hepix_vmimages_progress": False}},
    }
    _out, error = site.run(site.playbook(site.cache(**options[how]), _assert("found is changed")))
    assert not LINE.search(error)
    assert site.progress() == []
    # Ansible's own watcher of a job looks every five seconds whether it has ended.
    _wait(lambda: not site.jobs(), 15)


def test_a_failure_is_the_module_s_with_its_code(site: _Site) -> None:
    task = site.cache(ignore_errors=True, options={"quota": "1 MiB"})
    site.run(site.playbook(task, _assert("found is failed", "found.code == 'quota_exceeded'", "found.remedy != ''")))


@pytest.mark.needs("root", "su")
def test_it_works_with_become(site: _Site) -> None:
    _out, error = site.run(
        site.playbook(site.cache(diff=True), _assert(*GOOD), become=True, become_method="ansible.builtin.su")
    )
    assert len(LINE.findall(error)) >= 2


def test_the_time_limit_of_a_task_leaves_no_wild_job(site: _Site) -> None:
    with site.start(site.playbook(site.cache(timeout=3))) as process:
        out, error = process.communicate(timeout=60)
    assert process.returncode != 0 and "timed out" in (out + error).lower()
    _wait(lambda: not site.jobs() and not site.progress(), 15)


def test_a_controller_that_is_gone_leaves_no_wild_job(site: _Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Slow, "rate", 64 * 1024)
    with site.start(site.playbook(site.cache(), vars={"hepix_vmimages_patience": 5})) as process:
        _wait(lambda: any(path.suffix == ".json" for path in site.progress()))
        assert site.jobs()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    _wait(lambda: not site.jobs(), 20)
    _wait(lambda: site.progress() == [], 5)


def test_a_job_that_is_killed_with_its_wrapper_is_a_failure(site: _Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Slow, "rate", 64 * 1024)
    with site.start(site.playbook(site.cache())) as process:
        _wait(lambda: any(path.suffix == ".json" for path in site.progress()))
        time.sleep(1)
        for job in site.jobs():
            os.kill(job, signal.SIGKILL)
        out, error = process.communicate(timeout=60)
    assert process.returncode != 0 and "it goes on where it was" in out + error
    assert site.jobs() == [] and site.progress() == []
    assert list((site.place / "jobs").iterdir()) == []


@pytest.mark.needs("root", "sshd", "ssh-keygen", "ssh")
def test_it_works_over_ssh(site: _Site) -> None:
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(site.place / f"{name}.key")]
        subprocess.run(command, check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (site.place / "authorized").write_text((site.place / "user.key.pub").read_text())
    settings = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": site.place / "host.key",
        "AuthorizedKeysFile": site.place / "authorized",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PermitRootLogin": "yes",
        "Subsystem": "sftp internal-sftp",
    }
    (site.place / "sshd_config").write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    Path("/run/sshd").mkdir(exist_ok=True)
    sshd = subprocess.Popen(
        ["/usr/sbin/sshd", "-D", "-e", "-f", str(site.place / "sshd_config")], stderr=subprocess.DEVNULL
    )
    try:
        _wait(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
        given = (
            "UserKnownHostsFile=/dev/null",
            "StrictHostKeyChecking=no",
            "LogLevel=ERROR",
            f"ControlPath={site.place}/c",
        )
        arguments = " ".join(f"-o {option}" for option in given)
        variables = {
            "ansible_port": port,
            "ansible_host": "127.0.0.1",
            "ansible_user": getpass.getuser(),
            "ansible_ssh_private_key_file": str(site.place / "user.key"),
            "ansible_ssh_common_args": arguments,
            "ansible_python_interpreter": sys.executable,
            "ansible_async_dir": str(site.place / "jobs"),
        }
        _out, error = site.run(
            site.playbook(site.cache(diff=True), _assert(*GOOD)), "-c", "ssh", "-e", json.dumps(variables)
        )
        assert len(LINE.findall(error)) >= 2
    finally:
        sshd.terminate()
        sshd.wait(timeout=10)
