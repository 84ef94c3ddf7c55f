# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module through the real ansible-playbook: check, run, check again, run again."""

from __future__ import annotations

import json
import sys
import typing as t
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from .quartets import expand, write_quartets

HERE = Path(__file__).resolve().parent
PLAYBOOKS = sorted((HERE / "playbooks").glob("*.yml"))
NEEDS = {"image_mount": ("root", "mkfs.ext4", "mount", "/dev/loop-control")}
MODULES = sorted(path.stem for path in (HERE.parents[1] / "plugins" / "modules").glob("*.py"))


@pytest.fixture
def variables(pki: t.Any, demo_server: t.Any, tmp_path: Path) -> Iterator[dict[str, t.Any]]:
    """What the playbooks know of the endorser, the web server and the site."""
    www = tmp_path / "www"
    www.mkdir()
    with demo_server.serve(www, pki.tls / "server.pem", pki.tls / "server.key") as server:
        yield {
            "dn": pki.endorser.dn,
            "ca": pki.endorser.ca,
            "certificate": str(pki.endorser.certificate_path),
            "private_key": str(pki.endorser.key_path),
            "anchors": str(pki.certificates),
            "tls_ca": str(pki.tls / "ca.pem"),
            "www": str(www),
            "work": str(tmp_path),
            "server": server.uri,
            "list_id": "5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3",
            "image_id": "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1",
            "other_id": "e0f7a6f0-62c8-4b6e-8f56-7f2d6f0f7d11",
        }


@pytest.mark.parametrize("name", MODULES)
def test_every_module_has_its_quartets(name: str) -> None:
    (playbook,) = [path for path in PLAYBOOKS if path.stem == name]
    tasks = [task for play in yaml.safe_load(playbook.read_text()) for task in play["tasks"]]
    assert any(f"hepix.vmimages.{name}" in task and len(expand(task)) > 1 for task in tasks)


@pytest.mark.parametrize(
    "playbook",
    [pytest.param(path, id=path.stem, marks=pytest.mark.needs(*NEEDS.get(path.stem, ()))) for path in PLAYBOOKS],
)
def test_quartets(playbook: Path, variables: dict[str, t.Any], run_playbook: t.Any, tmp_path: Path) -> None:
    expanded = tmp_path / "quartets.yml"
    write_quartets(playbook, expanded)
    done = run_playbook(expanded, "--diff", "-e", json.dumps(variables), ANSIBLE_PIPELINING="true")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout + done.stderr
    assert "PRIVATE KEY" not in done.stdout + done.stderr


@pytest.mark.parametrize("expected", ["changed", "not changed"])
def test_the_driver_notices_what_is_not_as_expected(run_playbook: t.Any, tmp_path: Path, expected: str) -> None:
    path = tmp_path / "file"
    if expected == "changed":
        path.write_text("text")
        path.chmod(0o644)
    task = {
        "name": "Write a file",
        "ansible.builtin.copy": {"dest": str(path), "content": "text", "mode": "0644"},
        "vars": {"expected_change": expected == "changed"},
    }
    plays = [{"name": "Test the driver", "hosts": "localhost", "gather_facts": False, "tasks": [task]}]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(plays))
    write_quartets(tmp_path / "play.yml", tmp_path / "expanded.yml")
    done = run_playbook(tmp_path / "expanded.yml")
    assert done.returncode != 0
    assert f"quartet_0 is {expected}" in done.stdout


class TestRespawn:
    """A module under an interpreter that lacks the libraries, made for the purpose."""

    @pytest.fixture
    def playbook(self, variables: dict[str, t.Any], tmp_path: Path) -> tuple[Path, ...]:
        """Options for a run of imagelist_publish under a Python without any library."""
        venv.create(tmp_path / "bare", with_pip=False)
        image = tmp_path / "worker.img"
        image.write_bytes(b"an image")
        play = {
            "name": "Publish under another interpreter",
            "hosts": "localhost",
            "gather_facts": False,
            "vars": {"ansible_python_interpreter": str(tmp_path / "bare" / "bin" / "python")},
            "tasks": [
                {
                    "name": "Publish",
                    "hepix.vmimages.imagelist_publish": {
                        "identifier": "{{ list_id }}",
                        "uri": "{{ server }}/images.list",
                        "title": "{{ title }}",
                        "images": [{"identifier": "{{ image_id }}", "path": str(image), "uri": "{{ server }}/x.img"}],
                        "certificate": "{{ certificate }}",
                        "private_key": "{{ private_key }}",
                        "anchors": "{{ anchors }}",
                        "history_dir": "{{ work }}/history",
                    },
                }
            ],
        }
        (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
        return (tmp_path / "play.yml",)

    def test_it_goes_on_where_the_libraries_are(
        self, playbook: tuple[Path, ...], variables: dict[str, t.Any], run_playbook: t.Any
    ) -> None:
        options = json.dumps({**variables, "title": "Worker nodes"})
        done = run_playbook(*playbook, "-e", options, HEPIX_VMIMAGES_PYTHON=sys.executable)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "changed=1" in done.stdout

    def test_arguments_too_large_to_hand_over_are_one_sentence(
        self, playbook: tuple[Path, ...], variables: dict[str, t.Any], run_playbook: t.Any
    ) -> None:
        options = variables["work"] + "/options.json"
        Path(options).write_text(json.dumps({**variables, "title": "x" * 100_000}))
        done = run_playbook(*playbook, "-e", f"@{options}", HEPIX_VMIMAGES_PYTHON=sys.executable, timeout=60)
        assert done.returncode != 0
        assert "library_missing" in done.stdout
        assert f"set ansible_python_interpreter to {sys.executable}" in done.stdout
