# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write variables in which the words of others stay words."""

from __future__ import annotations

DOCUMENTATION = r"""
name: to_variables
short_description: Write what others have said as a file of variables
version_added: 0.1.0
description:
  - Writes a mapping as YAML for C(vars_files), C(group_vars) or C(--extra-vars @file).
  - Ansible takes every text in such a file for a template. What stands in an image list was written by somebody else; a
    title with a lookup in double braces would run a program on the controller of whoever keeps the list as variables.
    So each text that holds the beginning of a template is marked as C(!unsafe), and stays what it is.
  - C(ansible.builtin.to_nice_yaml) does not do this.
options:
  _input:
    description: What the file is to hold. Keys are texts.
    type: dict
    required: true
seealso:
  - module: hepix.vmimages.imagelist_info
  - module: hepix.vmimages.vmcaster_info
  - module: hepix.vmimages.vmcatcher_info
author:
  - The hepix.vmimages contributors
"""

EXAMPLES = r"""
- name: Keep a published list as variables
  ansible.builtin.copy:
    content: "{{ {'worker_nodes': published.publication} | hepix.vmimages.to_variables }}"
    dest: group_vars/all/worker_nodes.yml
    mode: "0644"
"""

RETURN = r"""
_value:
  description: The YAML text, with a line feed at its end.
  type: str
"""

import typing as t

import yaml
from ansible.errors import AnsibleFilterError

#: With what Jinja begins something of its own.
_BEGINNINGS: t.Final = ("{{", "{%", "{#")


class _Words(str):
    """A text that is no template."""


class _Dumper(yaml.SafeDumper):
    """Writes `_Words` with the tag by which Ansible knows them; the same value twice is written twice."""

    def ignore_aliases(self, data: t.Any) -> bool:
        return True


def _represent(dumper: _Dumper, words: _Words) -> yaml.ScalarNode:
    return dumper.represent_scalar("!unsafe", str(words), style='"')


_Dumper.add_representer(_Words, _represent)


def to_variables(value: t.Any) -> str:
    """The YAML text of a mapping."""
    if not isinstance(value, t.Mapping):
        raise AnsibleFilterError(
            "hepix.vmimages.to_variables writes a mapping: name the variable, as in {'name': value}"
        )
    return str(yaml.dump(_plain(value), Dumper=_Dumper, allow_unicode=True, indent=2, sort_keys=False, width=120))


def _plain(value: t.Any) -> t.Any:
    """The value in types of Python's own: Ansible's know where they came from."""
    if isinstance(value, str):
        text = str.__str__(value)
        return _Words(text) if any(beginning in text for beginning in _BEGINNINGS) else "".join(text)
    if isinstance(value, t.Mapping):
        return {"".join(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    raise AnsibleFilterError(f"hepix.vmimages.to_variables cannot write a value of the type {type(value).__name__}")


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Its name."""
        return {"to_variables": to_variables}
