#!/usr/bin/python
# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: imagelist_history
short_description: Tell the history of a signed list, and what changed between two of its versions
version_added: 0.1.0
description:
  - At a site, tells every accepted version of a list with its signer, its dates and the digest of its message, what was
    refused, and what the site itself did about the list.
  - With O(history_dir), tells an endorser the same of what was published.
  - It reads what was kept. Every kept message is compared with its recorded digest, and the whole journal of a site
    with its chain. It fetches nothing and changes nothing.
author:
  - The hepix.vmimages contributors (@hepix-vmimages)
extends_documentation_fragment:
  - hepix.vmimages.attributes
  - hepix.vmimages.attributes.actiongroup
  - hepix.vmimages.attributes.info
  - hepix.vmimages.dependencies
  - hepix.vmimages.catalogue
options:
  list:
    description:
      - The UUID of the list. At a site its address does as well. It may be a list that is no longer subscribed.
    type: str
    required: true
  between:
    description:
      - Two versions of the list. RV(difference) tells what changed from the first to the second.
      - Of several kept messages with one version, which a re-baselining allows, the last one is meant.
    type: list
    elements: str
  history_dir:
    description:
      - The directory that O(hepix.vmimages.imagelist_publish#module:history_dir) names. The history is then that of the
        endorser, and O(state_dir) and O(index) are not used.
    type: path
seealso:
  - module: hepix.vmimages.image_info
  - module: hepix.vmimages.imagelist_info
  - module: hepix.vmimages.imagelist_publish
"""

EXAMPLES = r"""
- name: Tell the history of a list
  hepix.vmimages.imagelist_history:
    list: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
  register: told

- name: Show who signed what and when it was accepted
  ansible.builtin.debug:
    msg: "{{ item.version }} {{ item.at }} {{ item.signer.dn }}"
  loop: "{{ told.versions }}"
  loop_control:
    label: "{{ item.version }}"

- name: Ask what changed between two versions
  hepix.vmimages.imagelist_history:
    list: https://images.example.org/worker-nodes.list
    between: ['17', '19']
  register: changes

- name: Show the images that were withdrawn
  ansible.builtin.debug:
    msg: "{{ changes.difference.images.removed }}"

- name: Tell an endorser what was published
  hepix.vmimages.imagelist_history:
    list: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
    history_dir: /home/erin/endorsed
"""

RETURN = r"""
list:
  description: The list, as it is known now. V(null) with O(history_dir).
  type: dict
  returned: success
  contains:
    identifier:
      description: The UUID of the list.
      type: str
      sample: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
    kind:
      description: Whether it is a list of images, V(imagelist), or of endorsers, V(endorserlist).
      type: str
      sample: imagelist
    uri:
      description: Where it is subscribed, or was.
      type: str
      sample: https://images.example.org/worker-nodes.list
    title:
      description: Its title.
      type: str
      sample: Worker nodes
    subscribed:
      description: Whether it is subscribed now.
      type: bool
      sample: true
versions:
  description: Every accepted message, or with O(history_dir) every published one, in the order of time.
  type: list
  elements: dict
  returned: success
  contains:
    version:
      description: The version of the list.
      type: str
      sample: '17'
    number:
      description: The line of the journal, or with O(history_dir) the number of the message.
      type: int
      sample: 42
    at:
      description: When it was accepted, or signed.
      type: str
      sample: '2026-11-20T10:00:00Z'
    by:
      description: Who accepted it. V(null) with O(history_dir).
      type: str
      sample: vmimages
    state:
      description:
        - V(accepted), or V(renewed) for the content accepted before, signed anew.
        - With O(history_dir) V(published), V(pending) while its upload is unfinished, or V(superseded) if another one
          took its place before it was finished.
      type: str
      sample: accepted
    standing:
      description: Whether it is what counts now.
      type: bool
      sample: true
    removed:
      description: The images that it no longer holds, which the one before did.
      type: list
      elements: dict
      returned: with O(history_dir)
      contains:
        identifier:
          description: The UUID of the image.
          type: str
          sample: 2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1
        reason:
          description: Why it was removed, as O(hepix.vmimages.imagelist_publish#module:images[].removal_reason) said.
          type: str
          sample: The kernel has a hole
    rebaselined:
      description: Whether it was let in by a re-baselining.
      type: bool
      returned: without O(history_dir)
      sample: false
    created:
      description: When the list was made, as it says itself.
      type: str
      sample: '2026-11-20T09:00:00Z'
    expires:
      description: When it expires.
      type: str
      sample: '2026-12-18T09:00:00Z'
    signer:
      description: Who signed it.
      type: dict
      contains:
        dn:
          description: The name of the signer in the slash form.
          type: str
          sample: /DC=org/DC=example-grid/CN=Erin Endorser
        ca:
          description: The name of the issuer in the slash form.
          type: str
          sample: /DC=org/DC=example-grid/CN=Example Grid Classic CA
        rfc4514:
          description: The name of the signer by RFC 4514.
          type: str
          returned: without O(history_dir)
          sample: CN=Erin Endorser,DC=example-grid,DC=org
        fingerprint:
          description: The SHA-256 digest of the certificate, in hexadecimal digits.
          type: str
          returned: without O(history_dir)
          sample: 3f79bb...
        not_after:
          description: When the certificate expires.
          type: str
          sample: '2027-11-20T09:00:00Z'
    path:
      description: The SHA-256 digests of the certificates by which it was accepted, that of the signer first.
      type: list
      elements: str
      returned: without O(history_dir)
    crls:
      description: The revocation lists by which it was accepted.
      type: list
      elements: dict
      returned: without O(history_dir)
      contains:
        issuer:
          description: The authority that issued the revocation list, in the slash form.
          type: str
          sample: /DC=org/DC=example-grid/CN=Example Grid Classic CA
        number:
          description: The number of the revocation list, V(null) where it states none.
          type: int
          sample: 17
        this_update:
          description: When it was issued.
          type: str
          sample: '2026-11-20T00:00:00Z'
        next_update:
          description: Until when it could be used.
          type: str
          sample: '2026-11-27T00:00:00Z'
        sha256:
          description: The SHA-256 digest of the revocation list, in hexadecimal digits.
          type: str
          sample: 60303a...
    good_until:
      description: Until when the certificates and the revocation lists of that time proved the signer.
      type: str
      returned: without O(history_dir)
      sample: '2026-11-27T00:00:00Z'
    message:
      description: The path of the kept message.
      type: str
    message_sha256:
      description: The SHA-256 digest of the message, in hexadecimal digits.
      type: str
      sample: 7d865e...
    content_sha512:
      description: The SHA-512 digest of the signed content, in hexadecimal digits.
      type: str
      sample: 0f5a2c...
    intact:
      description: Whether the kept message is the one that was recorded.
      type: bool
      sample: true
    images:
      description: How many images it holds. V(null) where the message is not intact.
      type: int
      sample: 12
    changes:
      description:
        - What changed since the version before. V(null) where one of the two messages is not intact.
      type: dict
      contains:
        added:
          description: The UUIDs of the images that came.
          type: list
          elements: str
        removed:
          description: The UUIDs of the images that went.
          type: list
          elements: str
        changed:
          description: The UUIDs of the images of which a key changed.
          type: list
          elements: str
refusals:
  description: What was refused. The same refusal is recorded once a day. Empty with O(history_dir).
  type: list
  elements: dict
  returned: success
  contains:
    at:
      description: When it was refused.
      type: str
      sample: '2026-11-20T10:00:00Z'
    by:
      description: Who asked.
      type: str
      sample: vmimages
    number:
      description: The line of the journal.
      type: int
      sample: 43
    code:
      description: The stable code of the refusal.
      type: str
      sample: rollback
    detail:
      description: What was found.
      type: str
    message_sha256:
      description: The SHA-256 digest of the refused message, which is not kept.
      type: str
rebaselines:
  description: The acts by which a content was let in whatever its version. Empty with O(history_dir).
  type: list
  elements: dict
  returned: success
  contains:
    at:
      description: When it was recorded.
      type: str
    by:
      description: The user who recorded it.
      type: str
    number:
      description: The line of the journal.
      type: int
    digest:
      description: The SHA-512 digest of the content, in hexadecimal digits.
      type: str
    reason:
      description: Why.
      type: str
      sample: The version was raised by mistake, says Erin by telephone.
    author:
      description: Whose act it was.
      type: str
      sample: sally
    state:
      description: V(done) if the content was accepted, V(pending) if not yet, V(ended) if something else came first.
      type: str
      sample: done
subscriptions:
  description: When the list was subscribed, changed and unsubscribed. Empty with O(history_dir).
  type: list
  elements: dict
  returned: success
  contains:
    at:
      description: When.
      type: str
    by:
      description: By whom.
      type: str
    number:
      description: The line of the journal.
      type: int
    event:
      description: V(subscribed), also for a changed subscription, or V(unsubscribed).
      type: str
      sample: subscribed
    uri:
      description: The address of the list from then on, V(null) after its end.
      type: str
    endorsers:
      description: Who may sign from then on, as in O(hepix.vmimages.imagelist_subscribe#module:endorsers).
      type: list
      elements: dict
decisions:
  description: The site's decisions about the list as a whole. Empty with O(history_dir).
  type: list
  elements: dict
  returned: success
  contains:
    at:
      description: When.
      type: str
    by:
      description: The user who recorded it.
      type: str
    number:
      description: The line of the journal.
      type: int
    decision:
      description: What was decided.
      type: str
      sample: blacklist
    target_type:
      description: What it was decided for.
      type: str
      sample: list
    target:
      description: The UUID of the list.
      type: str
    list:
      description: V(null), since the decision is about a list.
      type: str
    reason:
      description: Why.
      type: str
    author:
      description: Who decided.
      type: str
    until:
      description: The end of the decision, V(null) if it has none.
      type: str
difference:
  description: What changed between the versions of O(between). V(null) without O(between).
  type: dict
  returned: success
  contains:
    from:
      description: The first version.
      type: str
      sample: '17'
    to:
      description: The second version.
      type: str
      sample: '19'
    changed_keys:
      description: The list's own keys that differ, dates and version among them.
      type: list
      elements: dict
      contains:
        key:
          description: The key.
          type: str
          sample: dc:title
        before:
          description: Its value in the first version, V(null) where it was not there.
          type: raw
        after:
          description: Its value in the second version, V(null) where it is not there.
          type: raw
    images:
      description: The images that differ.
      type: dict
      contains:
        added:
          description: The images that the second version alone has.
          type: list
          elements: dict
          contains:
            identifier:
              description: The UUID of the image.
              type: str
            title:
              description: The title of the image.
              type: str
            version:
              description: The version of the image.
              type: str
            sha512:
              description: The SHA-512 digest of the image.
              type: str
        removed:
          description: The images that the first version alone has.
          type: list
          elements: dict
          contains:
            identifier:
              description: The UUID of the image.
              type: str
            title:
              description: The title of the image.
              type: str
            version:
              description: The version of the image.
              type: str
            sha512:
              description: The SHA-512 digest of the image.
              type: str
        changed:
          description: The images that differ.
          type: list
          elements: dict
          contains:
            identifier:
              description: The UUID of the image.
              type: str
            title:
              description: The title of the image in the second version.
              type: str
            octets:
              description: Whether the image has other octets, and not only other words about it.
              type: bool
            changed_keys:
              description: The keys that differ.
              type: list
              elements: dict
              contains:
                key:
                  description: The key.
                  type: str
                  sample: hv:version
                before:
                  description: Its value in the first version, V(null) where it was not there.
                  type: raw
                after:
                  description: Its value in the second version, V(null) where it is not there.
                  type: raw
problems:
  description:
    - The kept messages, and with O(history_dir) the files about images, that were changed or lost, each with code,
      detail, remedy and context. There is a warning of each as well.
  type: list
  elements: dict
  returned: success
evidence:
  description: What is kept about the octets of images, the reports of their audits and the lists of their packages.
  type: list
  elements: dict
  returned: with O(history_dir)
  contains:
    image_sha512:
      description: The SHA-512 digest of the image, in hexadecimal digits.
      type: str
      sample: 9b71d2...
    kind:
      description: V(audit_report) or V(package_manifest).
      type: str
      sample: audit_report
    sha512:
      description: The SHA-512 digest of the file, in hexadecimal digits.
      type: str
      sample: 0f5a2c...
    path:
      description: Where it is kept.
      type: str
      sample: /home/erin/endorsed/5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3/evidence/0f5a2c.json
code:
  description: The stable code of the refusal.
  type: str
  returned: failure
  sample: unknown_list
remedy:
  description: What to do next.
  type: str
  returned: failure
  sample: Use the identifier of a subscribed list; `vmimages status` shows them.
context:
  description: Further facts about the refusal, such as paths, found and expected values.
  type: dict
  returned: failure
"""

import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.arguments import CATALOGUE
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.dependencies import CRYPTOGRAPHY
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.running import run
from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorser import published
from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import SiteError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.history import lists
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.catalogue import Catalogue

ARGUMENTS = {
    "list": {"type": "str", "required": True},
    "between": {"type": "list", "elements": "str"},
    "history_dir": {"type": "path"},
    **CATALOGUE,
}
#: What only a site has.
NOTHING: dict[str, t.Any] = {"list": None, "refusals": [], "rebaselines": [], "subscriptions": [], "decisions": []}


def tell(module: AnsibleModule) -> t.Mapping[str, t.Any]:
    """Return the history of the list, and warn of messages that are no longer what was kept."""
    options = module.params
    told = _told(options, _between(options))
    for problem in told["problems"]:
        module.warn(f"{problem['detail']} {problem['remedy']}")
    return told


def _told(options: t.Mapping[str, t.Any], between: tuple[str, str] | None) -> dict[str, t.Any]:
    if options["history_dir"]:
        return {**NOTHING, **published.history(Path(options["history_dir"]), options["list"], between=between)}
    with Catalogue.open(options["state_dir"], index_path=options["index"]) as catalogue:
        return lists.history(catalogue, options["list"], between=between)


def _between(options: t.Mapping[str, t.Any]) -> tuple[str, str] | None:
    versions = options["between"]
    if versions is None:
        return None
    if len(versions) != 2:
        raise SiteError("option_invalid", f"between: name two versions, not {len(versions)}.", option="between")
    return versions[0], versions[1]


def main() -> t.NoReturn:
    """Run the module."""
    run(AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True), tell, needs=[CRYPTOGRAPHY])


if __name__ == "__main__":
    main()
