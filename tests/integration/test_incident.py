# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An incident on a bad day: the cache cannot decide, and the machines end all the same."""

from __future__ import annotations

import json
import sys
import typing as t
from pathlib import Path

IMAGE = "488dcdc4-9ab1-4fc8-a7ba-b7a5428ecb3d"


def test_machines_end_where_the_site_cannot_decide(run_playbook: t.Any, tmp_path: Path) -> None:
    local = f"ansible_connection=local ansible_python_interpreter={sys.executable}"
    (tmp_path / "hosts").write_text(f"broken {local}\nlost ansible_host=192.0.2.1 ansible_port=1\nnode {local}\n")
    command = tmp_path / "vmimages"
    command.write_text(f"""#!/bin/sh\necho "$*" >>{tmp_path}/asked\necho '{{"changed": false, "machines": []}}'\n""")
    command.chmod(0o755)
    given = {
        "hepix_vmimages_become": False,
        "hepix_vmimages_python": sys.executable,
        "hepix_vmimages_hosts": "node",
        "hepix_vmimages_command": [str(command)],
        "hepix_vmimages_state_dir": str(tmp_path / "nowhere"),
        "hepix_vmimages_images": [IMAGE],
        "ansible_ssh_timeout": 1,
    }

    def run(**more: str) -> t.Any:
        return run_playbook(
            "hepix.vmimages.stop_instances", "-i", tmp_path / "hosts", "-e", json.dumps({**given, **more})
        )

    assert run(hepix_vmimages_cache="broken").returncode != 0
    # What vmimages would not understand is refused before the site decides.
    for grace in ("1h30m", "90"):
        done = run(hepix_vmimages_cache="broken", hepix_vmimages_reason="ticket 4711", hepix_vmimages_grace=grace)
        assert done.returncode != 0 and f"hepix_vmimages_grace: {grace} is not a duration" in done.stdout
        assert "Blacklist it" not in done.stdout
    done = run_playbook(
        "hepix.vmimages.expire_instances",
        *("-i", tmp_path / "hosts", "-e", json.dumps({**given, "hepix_vmimages_grace": "1h30m"})),
    )
    assert done.returncode != 0 and "hepix_vmimages_grace: 1h30m is not a duration" in done.stdout
    assert not (tmp_path / "asked").exists()
    for cache in ("broken", "lost"):
        done = run(hepix_vmimages_cache=cache, hepix_vmimages_reason="ticket 4711")
        assert f"--image={IMAGE}" in (tmp_path / "asked").read_text(), done.stdout + done.stderr
        assert done.returncode != 0 and "The site has not decided" in done.stdout
        (tmp_path / "asked").unlink()
