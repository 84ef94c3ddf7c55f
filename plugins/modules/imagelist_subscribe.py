#!/usr/bin/python
# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: imagelist_subscribe
short_description: Subscribe a site to a signed list of virtual machine images
version_added: 0.1.0
description:
  - Declares a subscription of a site to an image list - where the list is, who may sign it, which of its images the
    site wants, and what happens to images that are new in it.
  - When the subscription is new or its list is stale, the list is fetched, verified and accepted as a whole. A
    list that does not pass changes nothing, and the module fails with a stable code.
  - The subscription keeps its trust options. Later refreshes by a timer judge by the same rules.
  - A list is subscribed once. The identifier is pinned, so a list never changes into another one.
author:
  - The hepix.vmimages contributors (@hepix-vmimages)
extends_documentation_fragment:
  - hepix.vmimages.attributes
  - hepix.vmimages.attributes.actiongroup
  - hepix.vmimages.dependencies
  - hepix.vmimages.dependencies.transfer
  - hepix.vmimages.access
  - hepix.vmimages.catalogue
  - hepix.vmimages.trust
attributes:
  check_mode:
    support: full
    details:
      - In check mode the list is fetched and verified where a real run would do so, but nothing is accepted or written.
  diff_mode:
    support: full
    details:
      - The difference is that of the subscription, and of the list's version and images.
  idempotent:
    support: partial
    details:
      - A run that accepts a new version of the list reports a change, which depends on what the endorser has published.
        With O(refresh=never) the module changes nothing when run again.
options:
  uri:
    description:
      - The address of the signed list (C(https), C(http) or C(file)). The host named here is always allowed.
      - Needed with O(state=present).
    type: str
  identifier:
    description:
      - The UUID of the list.
      - When left out with O(state=present), the UUID of the first accepted list is pinned. It is needed with
        O(refresh=never).
      - With O(state=absent), either this option or O(uri) names the subscription to end.
    type: str
  endorsers:
    description:
      - Who may sign the list - pairs of names in the slash form, endorsers of the site's registry by their names (see
        M(hepix.vmimages.endorser)), or endorsers of a subscribed endorser list (see
        M(hepix.vmimages.endorserlist_subscribe)). Needed with O(state=present).
      - An endorser given by name is looked up each time. When the site removes the endorser, or the endorser list no
        longer names this person, the images of this list are stopped at the next check.
      - A pair that the site took away from a registered endorser authorises nobody, also when it stands here.
    type: list
    elements: dict
    suboptions:
      dn:
        description:
          - The name of the signer, for example V(/DC=org/DC=example-grid/CN=Erin Endorser). Needs O(endorsers[].ca).
        type: str
      ca:
        description:
          - The name of the certification authority that issued the signer's certificate.
        type: str
      name:
        description:
          - The name of a registered endorser or, with O(endorsers[].endorser_list), the identifier of a person in that
            list.
        type: str
      endorser_list:
        description:
          - The UUID of a subscribed endorser list that names the person.
        type: str
  select:
    description:
      - The images of the list to be cached once they are approved, by UUID, by tag, or by what they are like. An item
        that is a mapping is a match with the keys that O(hepix.vmimages.image_policy#module:rules[].match) has, such as
        C(format) and C(arch).
      - When empty, these are the images that a decision about the image or its tag or a rule approves, and with
        O(new_images=cache) all of them. An approval of the whole list or of its endorser selects none.
    type: list
    elements: raw
    default: []
  new_images:
    description:
      - What happens to an image that is new in the list.
      - V(report) accepts it into the catalogue and reports it. It is not cached, and may not run, before somebody
        approves it.
      - V(approve) approves the images of this list, without a decision about each. Those that O(select) names are
        cached.
      - V(cache) approves the images of this list, and caches all of them if O(select) names none.
      - V(refuse) wants each image approved by its UUID. No rule, and no decision about a tag, a list or an endorser,
        approves it.
    type: str
    choices: [report, approve, cache, refuse]
    default: report
  tag_key:
    description:
      - The key of an image whose value is its tag, such as V(ad:mpuri).
    type: str
    default: dc:title
  max_list_age:
    description:
      - The greatest age of a list, counted from its creation, at which its images may still run, whatever its expiry
        says.
      - A number and a unit (V(s), V(m), V(h), V(d) or V(w)).
    type: str
  max_unrefreshed:
    description:
      - How long the list may go without a successful refresh before a warning is raised, and gates refuse the snapshot.
    type: str
  mirrors:
    description:
      - Other places where images are, tried in this order before the address that the list states. Whichever serves an
        image, its octets must be the endorsed ones.
      - An image that begins in one place may go on in another one when the first does not answer any more.
    type: list
    elements: dict
    default: []
    suboptions:
      match:
        description:
          - The beginning of the addresses for which there is a mirror, up to a slash.
        type: str
        required: true
      replace:
        description:
          - What stands there instead for the mirror (C(https), C(http) or C(file)), up to a slash.
        type: str
        required: true
  formats:
    description:
      - The formats in which the site wants the disks of this list's images, beside the files as they were endorsed. See
        M(hepix.vmimages.image_cache), which makes them.
    type: list
    elements: str
    choices: [raw, qcow2, vmdk, vdi, vhd]
    default: []
  move:
    description:
      - Whether a list that is subscribed at another address moves to O(uri). Otherwise that is a failure, since a
        list is subscribed once.
    type: bool
    default: false
  rebaseline:
    description:
      - Names the one content of the list that is accepted next although its version is lower than the accepted one, or
        the same. This is the way back when a mistake, or somebody who should not have had the key, has published a
        version that nothing can follow. Everything else is checked as ever.
      - The act is journaled, counts at once, and makes the list be fetched unless O(refresh=never). It is used up when
        the list's next version is accepted, whichever that is. What was accepted before does not come back.
      - An act with the same digest and reason is made once. Nothing happens when the content is the accepted one, or
        when no version was accepted so far.
    type: dict
    suboptions:
      digest:
        description:
          - The SHA-512 digest of the signed content, as the endorser confirms it. It is what
            M(hepix.vmimages.imagelist_publish) and M(hepix.vmimages.imagelist_info) return as C(sha512_of_content).
        type: str
        required: true
      reason:
        description:
          - Why, for those who read the journal.
        type: str
        required: true
      author:
        description:
          - Who decides. When left out, the user who runs the module.
        type: str
  refresh:
    description:
      - Whether the list is fetched now.
      - V(stale) fetches it when no version was accepted so far, when the subscription has changed, or when the last
        refresh is older than O(max_age).
    type: str
    choices: [stale, always, never]
    default: stale
  max_age:
    description:
      - The age of the last refresh from which on the list is stale.
    type: str
    default: 1h
  state:
    description:
      - Whether the subscription exists.
      - V(absent) ends it. What was accepted stays in the archive and in the journal, and the images may no longer run.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: hepix.vmimages.image_decision
  - module: hepix.vmimages.image_cache
  - module: hepix.vmimages.imagelist_info
"""

EXAMPLES = r"""
- name: Subscribe to the worker nodes' list
  hepix.vmimages.imagelist_subscribe:
    uri: https://images.example.org/worker-nodes.list
    identifier: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
    endorsers:
      - dn: /DC=org/DC=example-grid/CN=Erin Endorser
        ca: /DC=org/DC=example-grid/CN=Example Grid Classic CA
    max_unrefreshed: 3d

- name: Take two images of a large list, and trust its endorser with new versions of them
  hepix.vmimages.imagelist_subscribe:
    uri: https://images.example.org/everything.list
    endorsers:
      - dn: /DC=org/DC=example-grid/CN=Erin Endorser
        ca: /DC=org/DC=example-grid/CN=Example Grid Classic CA
    select: [worker, login]
    new_images: cache
    refresh: always

- name: Take one of the many formats of each image
  hepix.vmimages.imagelist_subscribe:
    uri: https://images.example.org/cernvm.list
    endorsers:
      - dn: /DC=org/DC=example-grid/CN=Erin Endorser
        ca: /DC=org/DC=example-grid/CN=Example Grid Classic CA
    select:
      - format: qcow2
        arch: x86_64
        hypervisor: '*kvm*'
    new_images: approve

- name: Subscribe to whatever Erin signs, by any of her certificates
  hepix.vmimages.imagelist_subscribe:
    uri: https://images.example.org/erin.list
    endorsers:
      - name: erin

- name: Fetch images from the site's mirror if it has them, else by the site's proxy from a server that wants a token
  hepix.vmimages.imagelist_subscribe:
    uri: https://lists.example.org/worker-nodes.list
    endorsers:
      - dn: /DC=org/DC=example-grid/CN=Erin Endorser
        ca: /DC=org/DC=example-grid/CN=Example Grid Classic CA
    ca_path: /etc/grid-security/certificates
    mirrors:
      - match: https://dcache.example.org:2880/images/
        replace: https://mirror.site.example/images/
    credentials:
      - host: dcache.example.org:2880
        token_file: /etc/hepix-vmimages/dcache.token
    proxy: http://squid.site.example:3128
    no_proxy: [site.example]

- name: Go back to a content that the endorser confirms, after a version that nothing can follow
  hepix.vmimages.imagelist_subscribe:
    uri: https://images.example.org/worker-nodes.list
    identifier: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
    endorsers:
      - dn: /DC=org/DC=example-grid/CN=Erin Endorser
        ca: /DC=org/DC=example-grid/CN=Example Grid Classic CA
    rebaseline:
      digest: "{{ confirmed_sha512 }}"
      reason: Version 999999999 was a slip, says Erin on the phone.

- name: End a subscription
  hepix.vmimages.imagelist_subscribe:
    identifier: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
    state: absent
"""

RETURN = r"""
subscription:
  description: The subscription, V(null) with O(state=absent).
  type: dict
  returned: success
  contains:
    uri:
      description: The address of the list.
      type: str
      sample: https://images.example.org/worker-nodes.list
    identifier:
      description: The pinned UUID of the list.
      type: str
      sample: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
    endorsers:
      description: Who may sign the list.
      type: list
      elements: dict
      sample:
        - dn: /DC=org/DC=example-grid/CN=Erin Endorser
          ca: /DC=org/DC=example-grid/CN=Example Grid Classic CA
    trust:
      description: The trust options by which the list is verified.
      type: dict
      sample:
        anchors: /etc/grid-security/certificates
        crl_mode: require
        namespaces_mode: require
        allow_sha1: false
        allow_host: false
    select:
      description: The selected images, by UUID, by tag, or by what they are like.
      type: list
      elements: raw
      sample: []
    new_images:
      description: What happens to new images.
      type: str
      sample: report
    tag_key:
      description: The key of an image whose value is its tag.
      type: str
      sample: dc:title
    max_list_age:
      description: The greatest age of a list in seconds, V(null) for no limit.
      type: int
      sample: 2419200
    max_unrefreshed:
      description: How long the list may go without a refresh in seconds, V(null) for no limit.
      type: int
      sample: 259200
    ca_path:
      description: The certification authorities of the web server.
      type: str
      sample: /etc/ssl/certs/example.pem
    allow_private:
      description: Whether private addresses are allowed.
      type: bool
      sample: false
    formats:
      description: The formats in which the disks of its images are wanted.
      type: list
      elements: str
      sample: [qcow2]
    access:
      description: How servers are reached; of secrets the paths of their files.
      type: dict
      contains:
        mirrors:
          description: Where images are as well.
          type: list
          elements: dict
          sample:
            - match: https://images.example.org/
              replace: https://mirror.example.net/images/
        credentials:
          description: Who we are to which server.
          type: list
          elements: dict
          sample:
            - host: dcache.example.org:2880
              token_file: /etc/hepix-vmimages/dcache.token
        proxy:
          description: The HTTP proxy, V(null) for none.
          type: str
          sample: http://squid.example.org:3128
        proxy_password_file:
          description: The file with the user and the password for the proxy.
          type: str
          sample: null
        no_proxy:
          description: The hosts and domains that are asked directly.
          type: list
          elements: str
          sample: []
list:
  description: What the refresh found, V(null) where the list was not fetched.
  type: dict
  returned: success
  contains:
    identifier:
      description: The UUID of the list.
      type: str
      sample: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
    uri:
      description: The address of the list.
      type: str
      sample: https://images.example.org/worker-nodes.list
    status:
      description:
        - V(new) for a new version, V(renewed) for the accepted content in a message that is good for longer, V(same)
          for the accepted content, V(unchanged) when the server says that nothing has changed.
        - V(refused) or V(failed) when new terms of the subscription were recorded, and the list did not pass or could
          not be fetched.
      type: str
      sample: new
    version:
      description: The accepted version.
      type: str
      sample: '3'
    previous_version:
      description: The version that was accepted before, V(null) for the first one.
      type: str
      sample: '2'
    new_images:
      description: The UUIDs of the images that were not in the list before.
      type: list
      elements: str
      sample: []
    withdrawn_images:
      description: The UUIDs of the images that are no longer in the list.
      type: list
      elements: str
      sample: []
    changed_images:
      description: The UUIDs of the images that have other octets than before.
      type: list
      elements: str
      sample: []
    clashes:
      description: The UUIDs of the images that belong to another list, and are refused.
      type: list
      elements: str
      sample: []
    error:
      description: Why the list was refused or could not be fetched, with its code, detail and remedy.
      type: dict
      returned: when the status is V(refused) or V(failed)
rebaseline:
  description: The act of O(rebaseline), V(null) without one.
  type: dict
  returned: success
  contains:
    digest:
      description: The SHA-512 digest of the content.
      type: str
      sample: 0f5a2c...
    reason:
      description: Why.
      type: str
      sample: Version 999999999 was a slip, says Erin on the phone.
    author:
      description: Who decided.
      type: str
      sample: sam
    at:
      description: When the act was made, V(null) where none was needed.
      type: str
      sample: '2026-11-20T10:00:00Z'
    state:
      description:
        - V(pending) while the content is waited for, V(done) after it was accepted, V(ended) when another one was
          accepted first, and V(not_needed) when the content is the accepted one without any act, or when no version
          was accepted so far.
      type: str
      sample: done
actions:
  description: What was done, or in check mode would be done, in this order.
  type: list
  elements: dict
  returned: success
  contains:
    action:
      description: What kind of action it is - V(subscribe), V(rebaseline), V(accept) or V(unsubscribe).
      type: str
      sample: accept
    list:
      description: The UUID of the list.
      type: str
      sample: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
    version:
      description: The version of the list that was accepted.
      type: str
      returned: when the action is V(accept)
      sample: '3'
    digest:
      description: The digest of the content that is let in.
      type: str
      returned: when the action is V(rebaseline)
      sample: 0f5a2c...
code:
  description: The stable code of the refusal.
  type: str
  returned: failure
  sample: version_reused
remedy:
  description: What to do next.
  type: str
  returned: failure
  sample: Ask the endorser to raise the list's version when its content changes.
context:
  description: Further facts about the refusal, such as paths, found and expected values.
  type: dict
  returned: failure
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.arguments import (
    ACCESS,
    CATALOGUE,
    FORMATS,
    SIGNERS,
    TRUST,
    duration,
)
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.dependencies import CRYPTOGRAPHY, REQUESTS
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.running import run
from ansible_collections.hepix.vmimages.plugins.module_utils._core.outcome import Outcome
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.lists.rebaseline import Act
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.lists.subscribe import subscribe, unsubscribe
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.catalogue import Catalogue
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.state import StateDirectory
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.subscription import Subscription

ARGUMENTS = {
    "uri": {"type": "str"},
    "identifier": {"type": "str"},
    "endorsers": SIGNERS,
    "select": {"type": "list", "elements": "raw", "default": []},
    "new_images": {"type": "str", "choices": ["report", "approve", "cache", "refuse"], "default": "report"},
    "tag_key": {"type": "str", "default": "dc:title", "no_log": False},
    "max_list_age": {"type": "str"},
    "max_unrefreshed": {"type": "str"},
    "mirrors": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"match": {"type": "str", "required": True}, "replace": {"type": "str", "required": True}},
    },
    "formats": FORMATS,
    "move": {"type": "bool", "default": False},
    "rebaseline": {
        "type": "dict",
        "options": {
            "digest": {"type": "str", "required": True},
            "reason": {"type": "str", "required": True},
            "author": {"type": "str"},
        },
    },
    "refresh": {"type": "str", "choices": ["stale", "always", "never"], "default": "stale"},
    "max_age": {"type": "str", "default": "1h"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    **CATALOGUE,
    **ACCESS,
    **TRUST,
}


def declare(module: AnsibleModule) -> Outcome:
    """Make the subscription what the options say, or end it."""
    options, check = module.params, module.check_mode
    present = options["state"] == "present"
    max_age = duration(options, "max_age")
    if not present and not StateDirectory.at(options["state_dir"]).exists():
        return Outcome(False, data={"subscription": None, "list": None, "rebaseline": None})
    with Catalogue.open(
        options["state_dir"], index_path=options["index"], create=present, dry=check, warn=module.warn
    ) as catalogue:
        if not present:
            return unsubscribe(catalogue, identifier=options["identifier"], uri=options["uri"], check=check)
        return subscribe(
            catalogue,
            Subscription.from_options(options),
            refresh=options["refresh"],
            max_age=max_age,
            move=options["move"],
            act=Act.from_options(options["rebaseline"]) if options["rebaseline"] else None,
            check=check,
        )


def main() -> t.NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        required_if=[("state", "present", ("uri", "endorsers")), ("state", "absent", ("uri", "identifier"), True)],
        supports_check_mode=True,
    )
    run(module, declare, needs=[CRYPTOGRAPHY, REQUESTS])


if __name__ == "__main__":
    main()
