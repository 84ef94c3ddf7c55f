#!/usr/bin/python
# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: endorserlist_subscribe
short_description: Subscribe a site to a VO's signed list of image endorsers
version_added: 0.1.0
description:
  - Declares a subscription of a site to the list in which a virtual organisation says whom it has elected to endorse
    images - where the list is, who may sign it, whom of it the site accepts, and what happens with their image lists.
  - The list is fetched, verified, accepted, archived and refreshed like an image list, by the same commands and timers.
  - With O(lists=subscribe) the site subscribes to the image lists of the endorsers that it accepts, and ends these
    subscriptions when the VO no longer names the endorser or the list. It never touches a subscription that was
    declared with M(hepix.vmimages.imagelist_subscribe).
  - Images of such lists run only while the endorser list names their signer, is not expired, and is signed by somebody
    who is still believed. All of this is judged offline, each time, and no decision overrides it.
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
        The image lists of endorsers whom only this version of the list names, or whom only changed options accept, are
        not foreseen; the subscriptions that changed options change or end are.
  diff_mode:
    support: full
    details:
      - The difference is that of the subscription, and of the list's version.
  idempotent:
    support: partial
    details:
      - A run that accepts a new version of the list, or subscribes to an image list, reports a change, which depends on
        what others have published. With O(refresh=never) the module changes nothing when run again.
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
  authorities:
    description:
      - Who may sign the list for the VO - pairs of names in the slash form, or endorsers of the site's registry by name
        (see M(hepix.vmimages.endorser)). Needed with O(state=present).
    type: list
    elements: dict
    suboptions:
      dn:
        description:
          - The name of the signer. Needs O(authorities[].ca).
        type: str
      ca:
        description:
          - The name of the certification authority that issued the signer's certificate.
        type: str
      name:
        description:
          - The name of a registered endorser.
        type: str
  new_endorsers:
    description:
      - What happens to a person whom the list names.
      - V(report) reports the person. Nobody is accepted whom O(accept) does not name.
      - V(accept) accepts everybody whom the list names.
    type: str
    choices: [report, accept]
    default: report
  accept:
    description:
      - The persons that the site accepts, by the identifiers under which the list names them.
    type: list
    elements: str
    default: []
  lists:
    description:
      - What happens with the image lists of the persons that are accepted.
      - V(report) only reports them. A person can be bound to a subscription by O(accept) and the option
        O(hepix.vmimages.imagelist_subscribe#module:endorsers[].endorser_list).
      - V(subscribe) subscribes to them, as O(subscription) says.
    type: str
    choices: [report, subscribe]
    default: report
  subscription:
    description:
      - The terms of the subscriptions that are made. How servers are reached and how messages are verified is as this
        module's own options say, except that an address in the endorser list may be private only with
        O(allow_private=true), and is never that of a local file.
    type: dict
    suboptions:
      select:
        description:
          - As O(hepix.vmimages.imagelist_subscribe#module:select).
        type: list
        elements: str
      new_images:
        description:
          - As O(hepix.vmimages.imagelist_subscribe#module:new_images). When left out, V(report).
        type: str
        choices: [report, approve, cache, refuse]
      tag_key:
        description:
          - As O(hepix.vmimages.imagelist_subscribe#module:tag_key). When left out, V(dc:title).
        type: str
      formats:
        description:
          - As O(hepix.vmimages.imagelist_subscribe#module:formats).
        type: list
        elements: str
      max_list_age:
        description:
          - As O(hepix.vmimages.imagelist_subscribe#module:max_list_age).
        type: str
      max_unrefreshed:
        description:
          - As O(hepix.vmimages.imagelist_subscribe#module:max_unrefreshed).
        type: str
      mirrors:
        description:
          - As O(hepix.vmimages.imagelist_subscribe#module:mirrors).
        type: list
        elements: dict
        suboptions:
          match:
            description:
              - The beginning of the addresses for which there is a mirror, up to a slash.
            type: str
            required: true
          replace:
            description:
              - What stands there instead for the mirror, up to a slash.
            type: str
            required: true
  max_list_age:
    description:
      - The greatest age of the endorser list, counted from its creation, at which it still authorises somebody.
      - A number and a unit (V(s), V(m), V(h), V(d) or V(w)).
    type: str
  max_unrefreshed:
    description:
      - How long the endorser list may go without a successful refresh before it authorises nobody any more.
    type: str
  move:
    description:
      - Whether a list that is subscribed at another address moves to O(uri). Otherwise that is a failure, since a
        list is subscribed once.
    type: bool
    default: false
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
      - V(absent) ends it, and the subscriptions that were made because of it.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: hepix.vmimages.endorserlist_publish
  - module: hepix.vmimages.endorser
  - module: hepix.vmimages.imagelist_subscribe
"""

EXAMPLES = r"""
- name: Follow the endorsers of a VO, and approve their images one by one
  hepix.vmimages.endorserlist_subscribe:
    uri: https://vo.example.org/endorsers.list
    identifier: 7c1f0a52-0c55-4c5c-a7f1-2f3f3c1d5a90
    authorities:
      - dn: /DC=org/DC=example-grid/CN=Vera Voms
        ca: /DC=org/DC=example-grid/CN=Example Grid Classic CA
    new_endorsers: accept
    lists: subscribe
    max_unrefreshed: 7d

- name: Accept one endorser of a VO, and cache whatever this person endorses
  hepix.vmimages.endorserlist_subscribe:
    uri: https://vo.example.org/endorsers.list
    authorities:
      - name: vo-manager
    accept: [erin@example.org]
    lists: subscribe
    subscription:
      new_images: cache
      max_unrefreshed: 3d

- name: End the subscription
  hepix.vmimages.endorserlist_subscribe:
    identifier: 7c1f0a52-0c55-4c5c-a7f1-2f3f3c1d5a90
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
      sample: https://vo.example.org/endorsers.list
    identifier:
      description: The pinned UUID of the list.
      type: str
      sample: 7c1f0a52-0c55-4c5c-a7f1-2f3f3c1d5a90
    kind:
      description: What the list is about, always V(endorserlist).
      type: str
      sample: endorserlist
    authorities:
      description: Who may sign the list.
      type: list
      elements: dict
      sample:
        - dn: /DC=org/DC=example-grid/CN=Vera Voms
          ca: /DC=org/DC=example-grid/CN=Example Grid Classic CA
    new_endorsers:
      description: What happens to a person whom the list names.
      type: str
      sample: accept
    accept:
      description: The persons that are accepted in any case.
      type: list
      elements: str
      sample: []
    lists:
      description: What happens with the image lists of accepted persons.
      type: str
      sample: subscribe
    subscription:
      description: The terms of the subscriptions that are made.
      type: dict
      sample:
        new_images: cache
    trust:
      description: The trust options by which the list is verified.
      type: dict
      sample:
        anchors: /etc/grid-security/certificates
        crl_mode: require
        namespaces_mode: require
        allow_sha1: false
        allow_host: false
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
      sample: 7c1f0a52-0c55-4c5c-a7f1-2f3f3c1d5a90
    uri:
      description: The address of the list.
      type: str
      sample: https://vo.example.org/endorsers.list
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
    new_endorsers:
      description: The persons that were not in the list before.
      type: list
      elements: str
      sample: [erin@example.org]
    gone_endorsers:
      description: The persons that are no longer in the list.
      type: list
      elements: str
      sample: []
    changed_endorsers:
      description: The persons with other certificates, lists or addresses than before.
      type: list
      elements: str
      sample: []
    error:
      description: Why the list was refused or could not be fetched, with its code, detail and remedy.
      type: dict
      returned: when the status is V(refused) or V(failed)
endorsers:
  description: The persons whom the accepted version of the list names.
  type: list
  elements: dict
  returned: success
  contains:
    identifier:
      description: What the VO calls this person.
      type: str
      sample: erin@example.org
    name:
      description: The name of the person.
      type: str
      sample: Erin Endorser
    email:
      description: The person's address.
      type: str
      sample: erin@example.org
    pairs:
      description: The names under which the person signs.
      type: list
      elements: dict
      sample:
        - dn: /DC=org/DC=example-grid/CN=Erin Endorser
          ca: /DC=org/DC=example-grid/CN=Example Grid Classic CA
    lists:
      description: The person's image lists; the C(identifier) of one is V(null) where the VO does not state it.
      type: list
      elements: dict
      sample:
        - uri: https://images.example.org/worker-nodes.list
          identifier: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
    accepted:
      description: Whether the site accepts the person.
      type: bool
      sample: true
followed:
  description: What became of the image lists that the site has newly subscribed to, or has tried to.
  type: list
  elements: dict
  returned: success or failure
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
failures:
  description: The image lists that could not be subscribed to. They are tried again by the next refresh.
  type: list
  elements: dict
  returned: success or failure
  sample: []
actions:
  description: What was done, or in check mode would be done, in this order.
  type: list
  elements: dict
  returned: success or failure
  contains:
    action:
      description: What kind of action it is - V(subscribe), V(accept) or V(unsubscribe).
      type: str
      sample: accept
    list:
      description: The UUID of the list.
      type: str
      sample: 7c1f0a52-0c55-4c5c-a7f1-2f3f3c1d5a90
    version:
      description: The version of the list that was accepted.
      type: str
      returned: when the action is V(accept)
      sample: '3'
    reason:
      description: Why a subscription to an image list was ended.
      type: str
      returned: when the action is V(unsubscribe), and concerns an image list
      sample: The site no longer subscribes to the endorser list 7c1f0a52-0c55-4c5c-a7f1-2f3f3c1d5a90.
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
    SIGNERS,
    TRUST,
    duration,
)
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.dependencies import CRYPTOGRAPHY, REQUESTS
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.running import run
from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorserlist.kinds import ENDORSER_LIST
from ansible_collections.hepix.vmimages.plugins.module_utils._core.outcome import Outcome
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.lists.elect import (
    NOTHING,
    subscribe_endorsers,
    unsubscribe_endorsers,
)
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.catalogue import Catalogue
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.state import StateDirectory
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.subscription import Subscription

TERMS = {
    "select": {"type": "list", "elements": "str"},
    "new_images": {"type": "str", "choices": ["report", "approve", "cache", "refuse"]},
    "tag_key": {"type": "str", "no_log": False},
    "formats": {"type": "list", "elements": "str"},
    "max_list_age": {"type": "str"},
    "max_unrefreshed": {"type": "str"},
    "mirrors": {
        "type": "list",
        "elements": "dict",
        "options": {"match": {"type": "str", "required": True}, "replace": {"type": "str", "required": True}},
    },
}

ARGUMENTS = {
    "uri": {"type": "str"},
    "identifier": {"type": "str"},
    "authorities": {
        "type": "list",
        "elements": "dict",
        "options": {name: SIGNERS["options"][name] for name in ("dn", "ca", "name")},
        "required_together": [("dn", "ca")],
        "mutually_exclusive": [("dn", "name")],
        "required_one_of": [("dn", "name")],
    },
    "new_endorsers": {"type": "str", "choices": ["report", "accept"], "default": "report"},
    "accept": {"type": "list", "elements": "str", "default": []},
    "lists": {"type": "str", "choices": ["report", "subscribe"], "default": "report"},
    "subscription": {"type": "dict", "options": TERMS},
    "max_list_age": {"type": "str"},
    "max_unrefreshed": {"type": "str"},
    "move": {"type": "bool", "default": False},
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
        return Outcome(False, data=NOTHING)
    with Catalogue.open(
        options["state_dir"], index_path=options["index"], create=present, dry=check, warn=module.warn
    ) as catalogue:
        if not present:
            return unsubscribe_endorsers(catalogue, identifier=options["identifier"], uri=options["uri"], check=check)
        return subscribe_endorsers(
            catalogue,
            Subscription.from_options({**options, "kind": ENDORSER_LIST}),
            refresh=options["refresh"],
            max_age=max_age,
            move=options["move"],
            check=check,
        )


def main() -> t.NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        required_if=[("state", "present", ("uri", "authorities")), ("state", "absent", ("uri", "identifier"), True)],
        supports_check_mode=True,
    )
    run(module, declare, needs=[CRYPTOGRAPHY, REQUESTS])


if __name__ == "__main__":
    main()
