# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sphinx's configuration of the documentation site.

Nothing is fetched from any other site, neither by a build nor by a reader's browser.
"""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import yaml
from docutils import nodes

_DOCS = Path(__file__).resolve().parents[1]
_GALAXY = yaml.safe_load((_DOCS.parent / "galaxy.yml").read_text(encoding="utf-8"))

project = f"{_GALAXY['namespace']}.{_GALAXY['name']}"
author = ", ".join(_GALAXY["authors"])
release = str(_GALAXY["version"])
copyright = author.removeprefix("The ")

extensions = ["sphinx_antsibull_ext"]
default_role = "any"
highlight_language = "YAML+Jinja"
nitpicky = True

html_theme = "furo"
html_title = f"{project} {release}"
html_short_title = project
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_sourcelink = False
html_copy_source = False
html_use_index = False
html_use_modindex = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#14507a", "color-brand-content": "#14507a"},
    "dark_css_variables": {"color-brand-primary": "#8cc4ee", "color-brand-content": "#8cc4ee"},
}
pygments_style = "ansible"
pygments_dark_style = "monokai"

exclude_patterns = ["environment_variables.rst"]

#: What antsibull-docs refers to in Ansible's own documentation: label -> page there.
_ANSIBLE = "https://docs.ansible.com/projects/ansible/latest/"
_ELSEWHERE = {
    "action_plugins": "plugins/action.html",
    "ansible_configuration_settings": "reference_appendices/config.html",
    "common_return_values": "reference_appendices/common_return_values.html",
}


def _link_to_ansible(app: t.Any, env: t.Any, node: t.Any, text: nodes.TextElement) -> nodes.reference | None:
    page = _ELSEWHERE.get(node.get("reftarget", ""))
    if page is None:
        return None
    link = nodes.reference("", "", internal=False, refuri=f"{_ANSIBLE}{page}")
    link += text
    return link


def _toctree(caption: str, entries: t.Iterable[str]) -> str:
    lines = [".. toctree::", f"   :caption: {caption}", "   :hidden:", "", *(f"   {entry}" for entry in entries), ""]
    return "\n".join(lines)


def _plugins(source: Path, kind: str) -> str:
    """The pages of modules or roles, in the sidebar by their names and here with what they are for."""
    pages = {path.stem: path.stem.removesuffix(f"_{kind}") for path in sorted(source.glob(f"*_{kind}.rst"))}
    titles = {
        page: re.search(rf"^\S+ {kind} -- (.*)$", (source / f"{page}.rst").read_text(encoding="utf-8"), re.MULTILINE)
        for page in pages
    }
    told = [f"* :doc:`{name} <{page}>`: {found.group(1)}" for page, name in pages.items() if (found := titles[page])]
    entries = [f"{name} <{page}>" for page, name in pages.items()]
    return "\n".join([*told, "", _toctree(f"{kind.capitalize()}s", entries)])


def _fill_index(app: t.Any, page: str, source: list[str]) -> None:
    """Put the sections of extra-docs.yml, the modules and the roles into the first page."""
    if page != "index":
        return
    sections = yaml.safe_load((_DOCS / "docsite" / "extra-docs.yml").read_text(encoding="utf-8"))["sections"]
    listed = [_toctree(each["title"], [f"docsite/{entry}" for entry in each["toctree"]]) for each in sections]
    text = source[0].replace(".. sections::\n", "\n".join(listed))
    for kind in ("module", "role"):
        text = text.replace(f".. {kind}s::\n", _plugins(Path(app.srcdir), kind))
    source[0] = text


def _leave_contents_to_the_theme(app: t.Any, page: nodes.document) -> None:
    for topic in list(page.findall(lambda node: isinstance(node, nodes.topic) and "contents" in node["classes"])):
        topic.parent.remove(topic)


def setup(app: t.Any) -> None:
    app.connect("missing-reference", _link_to_ansible)
    app.connect("source-read", _fill_index)
    app.connect("doctree-read", _leave_contents_to_the_theme)
