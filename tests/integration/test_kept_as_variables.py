# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A list of somebody else, kept as variables as the documentation says: its words are no templates."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

LIST: t.Final = "5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3"
TEXTS: t.Final = (
    "{{ lookup('pipe', 'touch WITNESS') }}",
    "{% for _x in [lookup('pipe', 'touch WITNESS')] %}{% endfor %}",
    "two\nlines: {{ lookup('pipe', 'touch WITNESS') }} \"quoted\" 'twice' \u2028 \x85 \x1b \N{SNOWMAN}",
    "{# nothing #}plain: text, - [of] {any} kind",
)
PLAYS: t.Final = """
- name: Keep a list
  hosts: localhost
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  tasks:
    - name: Read it
      hepix.vmimages.imagelist_info:
        src: "{{ place }}/list.json"
        verify: false
      register: published

    - name: Keep it as variables
      ansible.builtin.copy:
        content: "{{ {'worker_nodes': published.publication} | hepix.vmimages.to_variables }}"
        dest: "{{ place }}/worker_nodes.yml"
        mode: "0644"

- name: Use what was kept
  hosts: localhost
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  tasks:
    - name: Load it
      ansible.builtin.include_vars:
        file: "{{ place }}/worker_nodes.yml"

    - name: Write it down
      ansible.builtin.copy:
        content: "{{ worker_nodes | to_json }}"
        dest: "{{ place }}/used.json"
        mode: "0644"
"""


def test_the_words_of_a_list_run_nothing_where_it_is_kept_as_variables(run_playbook: t.Any, tmp_path: Path) -> None:
    texts = [text.replace("WITNESS", str(tmp_path / "witness")) for text in TEXTS]
    listed = {
        "dc:identifier": LIST,
        "dc:date:created": "2026-11-01T00:00:00Z",
        "dc:date:expires": "2026-12-15T00:00:00Z",
        "dc:title": texts[0],
        "dc:description": texts[1],
        "dc:source": texts[3],
        "hv:uri": "https://example.org/list",
        "hv:version": "1",
        "hv:endorser": {"hv:x509": {"dc:creator": texts[0], "hv:email": "", "hv:dn": "/CN=E", "hv:ca": "/CN=C"}},
        "hv:images": [],
        "x:more": {"deep": [texts[2], {texts[0]: texts[1]}]},
    }
    (tmp_path / "list.json").write_text(json.dumps({"hv:imagelist": listed}))
    (tmp_path / "keep.yml").write_text(PLAYS)
    done = run_playbook(tmp_path / "keep.yml", "-e", json.dumps({"place": str(tmp_path)}))
    assert done.returncode == 0, done.stdout + done.stderr
    used = json.loads((tmp_path / "used.json").read_text())
    assert not (tmp_path / "witness").exists()
    assert (used["title"], used["description"], used["source"]) == (texts[0], texts[1], texts[3])
    assert used["endorser"]["name"] == texts[0]
    assert used["metadata"] == {"x:more": listed["x:more"]}
    # What holds no template stays as a person would write it, and can be changed to one.
    assert "\n  uri: https://example.org/list\n" in (tmp_path / "worker_nodes.yml").read_text()


def test_the_playbooks_that_write_variables_write_them_so() -> None:
    checkout = Path(__file__).parents[2]
    places = ("playbooks/**/*.j2", "playbooks/*.yml", "plugins/modules/*.py", "docs/docsite/rst/**/*.rst")
    sources = [path for place in places for path in checkout.glob(place)]
    assert not [path.name for path in sources if "to_nice_yaml" in path.read_text() or "to_yaml" in path.read_text()]
