#!/usr/bin/python
# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_info
short_description: Tell whether virtual machine images may run at a site, and why
version_added: 0.1.0
description:
  - Reads the images of a site's subscriptions, each with its verdict - may it run now, and every reason.
  - Audits ask with O(as_of) what a verdict would have been at an earlier time, and with O(history) what became of an
    image.
  - It reads what the site knows. It fetches nothing and changes nothing.
author:
  - The hepix.vmimages contributors (@hepix-vmimages)
extends_documentation_fragment:
  - hepix.vmimages.attributes
  - hepix.vmimages.attributes.actiongroup
  - hepix.vmimages.attributes.info
  - hepix.vmimages.dependencies
  - hepix.vmimages.catalogue
options:
  images:
    description:
      - The UUIDs of the images to tell about. A UUID that no subscribed list holds or has held is a failure.
    type: list
    elements: str
    default: []
  tags:
    description:
      - The tags of the images to tell about. Of several images with one tag, it is the latest endorsed one.
    type: list
    elements: str
    default: []
  paths:
    description:
      - Files, to tell about the images that they are - files of the cache, under any name, symbolic or hard link, and
        what was made of them. The verdict is then that on this file, and its path the real one of this file.
      - Another file is a failure (V(file_unknown)) unless O(hash). After a further hard link was made, the cached file
        counts as changed until it is read again (O(hepix.vmimages.image_cache#module:verify), or O(hash) here).
    type: list
    elements: path
    default: []
  hash:
    description:
      - Whether a file of O(paths) that is not known as one of the cache is read, to find the image with its octets.
    type: bool
    default: false
  sha512:
    description:
      - SHA-512 digests in hexadecimal digits, to tell about the images with these octets. Of several it is the latest
        endorsed one, and RV(images[].holders) names all.
    type: list
    elements: str
    default: []
  as_of:
    description:
      - A time in UTC, for audits. The answer is what it would have been then, by the journal up to that time. The
        certification path is judged as of that time with the trust anchors and revocation lists that are there now.
      - What was good at another time authorises nothing now. RV(images[].verdict.allowed) is never V(true) then;
        RV(images[].verdict.would_have_been_allowed) says it.
    type: str
  history:
    description:
      - Whether to tell the history of each image as well, up to now. The whole journal is read for it.
    type: bool
    default: false
  lists:
    description:
      - The UUIDs of lists, to tell about their images only.
    type: list
    elements: str
    default: []
  state:
    description:
      - Which images to return - those that may run, those that may not, or both. With O(as_of) as it would have been.
    type: str
    choices: [any, allowed, refused]
    default: any
seealso:
  - module: hepix.vmimages.image_decision
  - module: hepix.vmimages.image_cache
"""

EXAMPLES = r"""
- name: Ask about one image by its tag
  hepix.vmimages.image_info:
    tags:
      - worker
  register: answer

- name: Go on only if it may run
  ansible.builtin.assert:
    that: answer.images | map(attribute='verdict.allowed') is all
    fail_msg: "{{ answer.images | map(attribute='verdict.reasons') | flatten | map(attribute='text') | join(' ') }}"

- name: Find everything that may not run
  hepix.vmimages.image_info:
    state: refused

- name: Ask about a file
  hepix.vmimages.image_info:
    paths: [/srv/images/worker.qcow2]
    hash: true

- name: Ask whether the image could have run on the second of January
  hepix.vmimages.image_info:
    images: [2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1]
    as_of: '2026-01-02T12:00:00Z'
  register: audited

- name: Say so
  ansible.builtin.debug:
    msg: "{{ audited.images[0].verdict.would_have_been_allowed }}: {{ audited.images[0].verdict.reasons }}"

- name: Ask who endorsed it, and what was decided about it
  hepix.vmimages.image_info:
    images: [2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1]
    history: true
"""

RETURN = r"""
images:
  description: The images, each with its verdict.
  type: list
  elements: dict
  returned: success
  contains:
    identifier:
      description: The UUID of the image.
      type: str
      sample: 2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1
    list:
      description: The UUID of its list.
      type: str
      sample: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
    title:
      description: The title of the image.
      type: str
      sample: worker
    tag:
      description: Its tag, which is the title unless the subscription says otherwise.
      type: str
      sample: worker
    version:
      description: The version of the image.
      type: str
      sample: '2'
    dated:
      description: When the list version was made in which this version of the image appeared first.
      type: str
      sample: '2026-11-20T09:00:00Z'
    size:
      description: The size of the transferred file in octets.
      type: int
      sample: 2147483648
    sha512:
      description: The SHA-512 digest of the transferred file, in hexadecimal digits.
      type: str
      sample: 9b71d2...
    uri:
      description: The address of the image.
      type: str
      sample: https://images.example.org/2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1/2.qcow2
    endorsed:
      description: Whether the list's accepted version holds the image.
      type: bool
      sample: true
    verdict:
      description: May the image run now.
      type: dict
      contains:
        allowed:
          description: Whether it may run. Never with O(as_of).
          type: bool
          sample: false
        would_have_been_allowed:
          description: Whether it would have been allowed to run at that time.
          type: bool
          returned: with O(as_of)
          sample: true
        code:
          description: The stable code of the weightiest reason, V(allowed) or V(run_anyway) if it may run.
          type: str
          sample: not_approved
        reasons:
          description: Every reason, the weightiest first.
          type: list
          elements: dict
          contains:
            code:
              description: The stable code of the reason.
              type: str
              sample: not_approved
            text:
              description: The reason in one sentence.
              type: str
              sample: The site has not approved image 2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1.
        remedy:
          description: What to do next, empty if there is nothing to do.
          type: str
          sample: Approve the image, if the site wants it (image_decision).
        path:
          description: The file to run, V(null) where there is none in the cache, and with O(as_of).
          type: str
          sample: /var/lib/hepix-vmimages/cache/current/2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1_2_9b71d224bd62f378
        good_until:
          description: Until when an allowing verdict stands, V(null) for a refusing one.
          type: str
          sample: '2026-11-27T00:00:00Z'
    cache:
      description: The cached file, V(null) where there is none.
      type: dict
      contains:
        path:
          description: The path of the file.
          type: str
          sample: /var/lib/hepix-vmimages/cache/current/2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1_2_9b71d224bd62f378
        unchanged:
          description: Whether size, times and inode are still those of the verified file. V(null) with O(as_of).
          type: bool
          sample: true
    formats:
      description:
        - By format (V(raw), V(qcow2), V(vmdk), V(vdi), V(vhd)), the files of the image that may be started. The
          endorsed file is among them where it is a plain disk, and what M(hepix.vmimages.image_cache) has made of it.
          Empty unless the image may run. A derived file that was changed is left out.
        - Each has C(path), C(derived) (V(false) for the endorsed file), C(size), C(sha512), C(virtual_size) (V(null)
          for the endorsed file) and C(stat).
      type: dict
      sample:
        qcow2:
          derived: true
          path: /var/lib/hepix-vmimages/cache/derived/9b71d224bd62f3785d96d46ad3ea3d73_raw-gz.qcow2
          sha512: 3c9909...
          size: 1073741824
          stat: {ctime_ns: 1795430000000000000, inode: 131, mtime_ns: 1795430000000000000, size: 1073741824}
          virtual_size: 10737418240
    decisions:
      description: The site's decisions about the image.
      type: list
      elements: dict
      contains:
        decision:
          description: What was decided.
          type: str
          sample: approve
        target_type:
          description:
            - What was decided about - an V(image), a V(tag), a whole V(list), an V(endorser), or the V(rule) that
              decides.
          type: str
          sample: image
        target:
          description: The UUID, the tag, the identifier of the list, the endorser, or the name of the rule.
          type: str
          sample: 2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1
        list:
          description: The list whose image is meant. V(null) where the decision speaks of every list.
          type: str
          sample: 0b4f3a52-6f2c-4b7c-9f0e-6f3f0e0a1d11
        reason:
          description: Why it was decided.
          type: str
          sample: Tested on the pre-production nodes.
        author:
          description: Who decided.
          type: str
          sample: sally
        until:
          description: The end of the decision, V(null) if it has none.
          type: str
          sample: '2027-01-31T00:00:00Z'
        begins:
          description: When a rule about the age of images begins, or began, to speak of this one. Else V(null).
          type: str
          sample: null
    metadata:
      description: The image as its list describes it, with every key.
      type: dict
    holders:
      description: All images that are or were these octets, the best first.
      type: list
      elements: dict
      returned: for O(paths) and O(sha512)
      contains:
        list:
          description: The UUID of the list.
          type: str
        identifier:
          description: The UUID of the image.
          type: str
        version:
          description: The version of the image.
          type: str
        tag:
          description: The tag of the image.
          type: str
        endorsed:
          description: Whether the list's accepted version holds it.
          type: bool
    history:
      description: What became of the image.
      type: dict
      returned: with O(history)
      contains:
        appearances:
          description: Every state of the image in every list, in the order of time.
          type: list
          elements: dict
          contains:
            list:
              description: The UUID of the list.
              type: str
            version:
              description: The version of the image.
              type: str
            sha512:
              description: The SHA-512 digest of the image.
              type: str
            size:
              description: Its size in octets.
              type: int
            title:
              description: Its title.
              type: str
            uri:
              description: Its address.
              type: str
            since:
              description: The version of the list that said so first.
              type: dict
              contains:
                list_version:
                  description: The version of the list.
                  type: str
                at:
                  description: When it was accepted.
                  type: str
            until:
              description: The version of the list that no longer said so, V(null) while it stands.
              type: dict
              contains:
                list_version:
                  description: The version of the list.
                  type: str
                at:
                  description: When it was accepted.
                  type: str
        endorsements:
          description: Every accepted message of a list that holds the image, in the order of time.
          type: list
          elements: dict
          contains:
            list:
              description: The UUID of the list.
              type: str
            list_version:
              description: The version of the list.
              type: str
            version:
              description: The version of the image.
              type: str
            sha512:
              description: The SHA-512 digest of the image.
              type: str
            number:
              description: The line of the journal.
              type: int
            at:
              description: When the message was accepted.
              type: str
            created:
              description: When the list was made.
              type: str
            expires:
              description: When the list expires.
              type: str
            signer:
              description: Who signed it, as in RV(hepix.vmimages.imagelist_history#module:versions[].signer).
              type: dict
            message_sha256:
              description: The SHA-256 digest of the message.
              type: str
            intact:
              description: Whether the kept message is the one that was accepted.
              type: bool
        decisions:
          description:
            - The site's decisions about it, in the order of time - those about the image, its tags, its lists and its
              endorsers, and the rules as they began, changed or ended to speak of it.
          type: list
          elements: dict
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
            decision:
              description: What was decided, V(clear) for the end of a decision.
              type: str
            target_type:
              description: What it was decided for, V(image), V(tag), V(list), V(endorser) or V(rule).
              type: str
            target:
              description: Its UUID, tag or name.
              type: str
            list:
              description: The list whose image is meant. V(null) where the decision speaks of every list.
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
        events:
          description: What became of its files in the cache.
          type: list
          elements: dict
          contains:
            at:
              description: When.
              type: str
            by:
              description: The user of the process.
              type: str
            number:
              description: The line of the journal.
              type: int
            event:
              description: V(cached), V(expired), V(damaged), V(purged) or V(lost).
              type: str
            file:
              description: The name of the file.
              type: str
            version:
              description: The version of the image, V(null) where the line names the file alone.
              type: str
            sha512:
              description: The SHA-512 digest of the image, V(null) where the line names the file alone.
              type: str
            list:
              description: The list for which it was fetched, V(null) where the line names the file alone.
              type: str
            code:
              description: The verdict by which it expired, V(null) otherwise.
              type: str
        holders:
          description: All images that are or were the octets of its last version, as RV(images[].holders).
          type: list
          elements: dict
          contains:
            list:
              description: The UUID of the list.
              type: str
            identifier:
              description: The UUID of the image.
              type: str
            version:
              description: The version of the image.
              type: str
            tag:
              description: The tag of the image.
              type: str
            endorsed:
              description: Whether the list's accepted version holds it.
              type: bool
audit:
  description: Whether the answer is that of another time, O(as_of).
  type: bool
  returned: success
  sample: false
authorises:
  description: Whether an image may be started by this answer. Never with O(as_of).
  type: bool
  returned: success
  sample: true
as_of:
  description: The time of the answer, V(null) without O(as_of).
  type: str
  returned: success
  sample: '2026-01-02T12:00:00Z'
basis:
  description: What the answer of another time rests on, V(null) without O(as_of).
  type: dict
  returned: success
  contains:
    journal_line:
      description: The last line of the journal that counts.
      type: int
      sample: 42
    journal_line_at:
      description: When it was written, V(null) where there was none.
      type: str
    doubt:
      description: A sentence where the site's clock had gone back, so that it is not certain which lines count.
      type: str
    notes:
      description: What such an answer cannot know, in sentences.
      type: list
      elements: str
code:
  description: The stable code of the refusal.
  type: str
  returned: failure
  sample: unknown_image
remedy:
  description: What to do next.
  type: str
  returned: failure
  sample: Use the UUID or the tag of an image in a subscribed list; `vmimages status` shows them.
context:
  description: Further facts about the refusal, such as paths, found and expected values.
  type: dict
  returned: failure
"""

import contextlib
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.arguments import CATALOGUE, timestamp
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.dependencies import CRYPTOGRAPHY
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.running import run
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site import queries
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement.asked import candidate
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store import preload
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.catalogue import Catalogue

ARGUMENTS = {
    "images": {"type": "list", "elements": "str", "default": []},
    "tags": {"type": "list", "elements": "str", "default": []},
    "lists": {"type": "list", "elements": "str", "default": []},
    "paths": {"type": "list", "elements": "path", "default": []},
    "hash": {"type": "bool", "default": False},
    "sha512": {"type": "list", "elements": "str", "default": []},
    "state": {"type": "str", "choices": ["any", "allowed", "refused"], "default": "any"},
    "as_of": {"type": "str"},
    "history": {"type": "bool", "default": False},
    **CATALOGUE,
}
NOW: dict[str, t.Any] = {"audit": False, "authorises": True, "as_of": None, "basis": None}


def ask(module: AnsibleModule) -> t.Mapping[str, t.Any]:
    """Return the images that the options name, with their verdicts."""
    options = module.params
    when = timestamp(options, "as_of")
    with contextlib.ExitStack() as stack:
        # Before the state's owner takes over: the files may be readable for whoever asks alone.
        files = [stack.enter_context(candidate(path, read=options["hash"])) for path in options["paths"]]
        opened = Catalogue.open(options["state_dir"], index_path=options["index"], load=preload.judging)
        catalogue = stack.enter_context(opened)
        named = {key: options[key] for key in ("images", "tags", "lists", "sha512", "state")}
        if when is None:
            answer = {"images": queries.images(catalogue, files=files, **named), **NOW}
        else:
            from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.history import verdicts

            answer = verdicts.images(catalogue, when, files=files, **named)
        if options["history"]:
            from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.history import images as told

            histories = told.history(catalogue, {image["identifier"] for image in answer["images"]})
            for image in answer["images"]:
                image["history"] = histories[image["identifier"]]
    return answer


def main() -> t.NoReturn:
    """Run the module."""
    run(AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True), ask, needs=[CRYPTOGRAPHY])


if __name__ == "__main__":
    main()
