#!/usr/bin/python
# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_cache
short_description: Keep a site's cache of virtual machine images as its lists and decisions say
version_added: 0.1.0
description:
  - Downloads every image that is selected, endorsed and approved, verifies size and digests while it is received, and
    publishes it atomically into the directory C(cache/current) below O(state_dir).
  - Moves images that have lost their endorsement or their approval into C(cache/expired), and back again when they have
    regained it.
  - One image that cannot be had does not stop the others. It makes the module fail in the end, with everything that was
    done in the result.
author:
  - The hepix.vmimages contributors (@hepix-vmimages)
extends_documentation_fragment:
  - hepix.vmimages.attributes
  - hepix.vmimages.attributes.actiongroup
  - hepix.vmimages.dependencies
  - hepix.vmimages.dependencies.transfer
  - hepix.vmimages.catalogue
attributes:
  check_mode:
    support: full
    details:
      - In check mode nothing is downloaded, so that a failing download is not foreseen. With O(refresh=true) the
        servers are asked, and the plan for the files is that for the lists accepted so far.
      - Files that the module would read are read in check mode as well, so that a damaged one is foreseen.
  diff_mode:
    support: full
    details:
      - The difference is that of the files in the cache.
  idempotent:
    support: partial
    details:
      - With O(refresh=false) the module changes nothing when run again. No file is read again unless O(verify=true).
      - Time changes the plan as well, when a list expires or O(purge_expired) has passed.
options:
  lists:
    description:
      - The UUIDs of lists, to handle their images only.
    type: list
    elements: str
    default: []
  images:
    description:
      - The UUIDs or tags of images, to handle these only.
    type: list
    elements: str
    default: []
  refresh:
    description:
      - Whether the lists are refreshed first.
    type: bool
    default: false
  verify:
    description:
      - Whether the cached files are read again and compared with their digests. A file that has changed is replaced.
    type: bool
    default: false
  purge_expired:
    description:
      - Delete files that have been in C(cache/expired) for longer than this, as a number and a unit (V(s), V(m), V(h),
        V(d) or V(w)). When left out, they are kept. With O(lists) or O(images) only their files are deleted.
    type: str
  formats:
    description:
      - The formats in which the site wants the disks of all cached images, beside those that a subscription asks for
        (see O(hepix.vmimages.imagelist_subscribe#module:formats)).
      - Images are unpacked (C(.gz), C(.bz2), C(.xz), C(.zst), OVA, tar) and converted after they were verified, by what
        their list states (C(hv:format)). What is made lies in C(cache/derived) and has its own digest in the journal.
        It goes when the image leaves C(cache/current), and with O(purge_expired) when nobody asks for it any more.
      - An image that refers to other files (a backing file, external data, extents) is refused, as are decompression
        bombs and archives with several disks. Conversions need C(qemu-img) on the host.
    type: list
    elements: str
    choices: [raw, qcow2, vmdk, vdi, vhd]
    default: []
  max_unpacked:
    description:
      - The largest disk that may come out of an image, such as V(100 GiB). By default that of C(settings.json), else
        V(512 GiB).
    type: str
  quota:
    description:
      - What the cache may hold in all, such as V(2 TiB), as its file system counts it. An image that does not fit is
        not downloaded, and fails with what is missing. By default that of C(settings.json), else there is none.
    type: str
  min_free:
    description:
      - What stays free on the file system of the cache, such as V(50 GiB). By default that of C(settings.json), else
        nothing.
    type: str
  keep_expired:
    description:
      - Where an image does not fit by O(quota) or O(min_free), files in C(cache/expired) make room, the oldest first,
        once they have been there for this long (V(s), V(m), V(h), V(d) or V(w)). By default that of C(settings.json),
        else V(0s).
      - A file that is in use is never deleted, by this option or by O(purge_expired) - one that is pinned, that a
        process has open, or that a loop device shows.
    type: str
  scrub:
    description:
      - Whether files are read again that were last read longer than O(scrub_interval) ago. A file that has changed,
        though its size and times say that it has not, is put aside and downloaded again, or made again.
    type: bool
    default: false
  scrub_interval:
    description:
      - How long ago a file may have been read last, as a number and a unit. By default that of C(settings.json), else
        V(30d).
    type: str
  scrub_rate:
    description:
      - How much is read in a second with O(scrub) or O(verify), such as V(50 MiB). By default that of C(settings.json),
        else as much as goes.
    type: str
  max_parallel:
    description:
      - How many images are downloaded at the same time.
    type: int
    default: 2
  max_per_host:
    description:
      - How many images are downloaded at the same time from one host, of those that O(max_parallel) allows.
    type: int
    default: 4
  retries:
    description:
      - How often an image is asked for again that does not come, after pauses that begin with a second and double.
      - Attempts that bring further octets do not count, and each goes on where the last one ended. What is there of an
        image when it is given up is kept for the next run. With V(0) every address is asked once.
    type: int
    default: 3
  timeout:
    description:
      - The longest that one image may take, all attempts included, as a number and a unit (V(s), V(m), V(h), V(d) or
        V(w)).
    type: str
    default: 1d
  watched:
    description:
      - Set by the action plugin of this module, which shows how far a run is while it goes on (see the notes). Not for
        playbooks.
    type: dict
    suboptions:
      run:
        description:
          - The name of the run, and so of the files C(progress/<run>.json) and C(progress/<run>.lease) below
            O(state_dir).
        type: str
        required: true
      patience:
        description:
          - After how many seconds without a touch of its lease the run ends.
        type: int
        default: 60
  minimum_rate:
    description:
      - A download ends, and is tried again, that is slower than so many octets a second over half a minute.
    type: int
    default: 1024
notes:
  - While the task runs, lines on standard error tell how far each image is. The module runs in the background for that,
    and stops by itself when the play is interrupted, is over its time, or is gone. In check mode, with C(async), with
    C(no_log) and where the variable C(hepix_vmimages_progress) is V(false) it runs as any other module.
  - The files in C(progress) below O(state_dir) tell the same to everybody who may read them, and to C(vmimages status).
seealso:
  - module: hepix.vmimages.imagelist_subscribe
  - module: hepix.vmimages.image_decision
  - module: hepix.vmimages.image_info
"""

EXAMPLES = r"""
- name: Bring the cache up to date
  hepix.vmimages.image_cache:
    refresh: true
    purge_expired: 14d

- name: Keep disks for the hypervisors in one format, and a third of the disk free
  hepix.vmimages.image_cache:
    formats: [qcow2]
    quota: 2 TiB
    min_free: 1 TiB
    keep_expired: 2d

- name: Read what has not been read for two weeks, without disturbing anybody
  hepix.vmimages.image_cache:
    scrub: true
    scrub_interval: 14d
    scrub_rate: 50 MiB

- name: See what would be downloaded for one list
  hepix.vmimages.image_cache:
    lists:
      - 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
  check_mode: true
"""

RETURN = r"""
lists:
  description: What the refresh found for each list; empty with O(refresh=false).
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
        - V(new), V(renewed), V(same), V(unchanged), V(refused) or V(failed), as M(hepix.vmimages.imagelist_subscribe)
          has them.
      type: str
      sample: unchanged
    version:
      description: The accepted version, V(null) while there is none.
      type: str
      sample: '3'
    previous_version:
      description: The version that was accepted before.
      type: str
      sample: '3'
    new_images:
      description: The UUIDs of the images that were not in the list before.
      type: list
      returned: for an image list
      elements: str
      sample: []
    withdrawn_images:
      description: The UUIDs of the images that are no longer in the list.
      type: list
      returned: for an image list
      elements: str
      sample: []
    changed_images:
      description: The UUIDs of the images that have other octets than before.
      type: list
      returned: for an image list
      elements: str
      sample: []
    clashes:
      description: The UUIDs of the images that belong to another list, and are refused.
      type: list
      returned: for an image list
      elements: str
      sample: []
    new_endorsers:
      description: The persons that were not in the list before.
      type: list
      returned: for an endorser list
      elements: str
      sample: [erin@example.org]
    gone_endorsers:
      description: The persons that are no longer in the list.
      type: list
      returned: for an endorser list
      elements: str
      sample: []
    changed_endorsers:
      description: The persons with other certificates, lists or addresses than before.
      type: list
      returned: for an endorser list
      elements: str
      sample: []
    error:
      description: Why the list was refused or could not be fetched, with its code, detail and remedy.
      type: dict
      returned: when the status is V(refused) or V(failed)
downloaded:
  description:
    - The images that were downloaded. Empty in check mode, as are the lists below except RV(failures); see RV(actions)
      there.
  type: list
  elements: dict
  returned: success or failure
  contains: &file
    action:
      description: What kind of action it is.
      type: str
      sample: download
    image:
      description: The UUID of the image.
      type: str
      sample: 2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1
    list:
      description: The UUID of its list.
      type: str
      sample: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
    version:
      description: The version of the image.
      type: str
      returned: unless the file was purged
      sample: '2'
    size:
      description: The size of the file in octets.
      type: int
      returned: unless the file was purged
      sample: 2147483648
    name:
      description: The name of the file in the cache.
      type: str
      sample: 2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1_2_9b71d224bd62f378
    path:
      description: The file.
      type: str
      returned: for files that were downloaded, read or restored
      sample: /var/lib/hepix-vmimages/cache/current/2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1_2_9b71d224bd62f378
    octets:
      description: How many octets were received.
      type: int
      returned: for files that were downloaded, read or restored
      sample: 2147483648
    seconds:
      description: How long it took.
      type: float
      returned: for files that were downloaded, read or restored
      sample: 5.41
    resumed_from:
      description: How many octets an earlier download had left, which were not received again.
      type: int
      returned: for files that were downloaded, read or restored
      sample: 0
    source:
      description: The address that the image was asked for at, V(null) for a file that was here.
      type: str
      returned: for files that were downloaded, read or restored
      sample: https://images.example.org/2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1/2.qcow2
    code:
      description: Why the file was moved, or why it was no longer wanted.
      type: str
      returned: for files that were moved or are no longer wanted
      sample: withdrawn
moved:
  description: The images whose files went into C(cache/expired), each with the C(code) that says why.
  type: list
  elements: dict
  returned: success or failure
  contains: *file
restored:
  description: The images whose files came back from C(cache/expired).
  type: list
  elements: dict
  returned: success or failure
  contains: *file
verified:
  description: The images whose files were read again and found to be as they should be.
  type: list
  elements: dict
  returned: success or failure
  contains: *file
damaged:
  description: The images whose files were not what they should be. They were put aside in C(cache/expired).
  type: list
  elements: dict
  returned: success or failure
  contains: *file
purged:
  description: The images whose files were deleted from C(cache/expired).
  type: list
  elements: dict
  returned: success or failure
  contains: *file
derived:
  description: The files that were made of images, in the formats that are asked for.
  type: list
  elements: dict
  returned: success or failure
  contains: &derived
    action:
      description: What kind of action it is.
      type: str
      sample: derive
    image:
      description: The UUID of the image.
      type: str
      returned: for what was made
      sample: 2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1
    list:
      description: The UUID of its list.
      type: str
      returned: for what was made
      sample: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
    version:
      description: The version of the image.
      type: str
      returned: for what was made
      sample: '2'
    format:
      description: The format of the file.
      type: str
      sample: qcow2
    name:
      description: Its name in C(cache/derived), after the digest and the format of what it was made of.
      type: str
      sample: 9b71d224bd62f3785d96d46ad3ea3d73_raw-gz.qcow2
    path:
      description: The file.
      type: str
      returned: for what was made
      sample: /var/lib/hepix-vmimages/cache/derived/9b71d224bd62f3785d96d46ad3ea3d73_raw-gz.qcow2
    size:
      description: Its size in octets.
      type: int
      returned: for what was made
      sample: 1073741824
    sha512:
      description: The SHA-512 digest of the file, which is not that of the endorsed one.
      type: str
      returned: for what was made
      sample: 3c9909...
    virtual_size:
      description: The size of the disk that a guest sees.
      type: int
      returned: for what was made
      sample: 10737418240
    seconds:
      description: How long it took.
      type: float
      returned: for what was made
      sample: 12.5
    code:
      description: Why it was removed - V(source_gone), V(not_wanted) or V(damaged).
      type: str
      returned: for what was removed
      sample: source_gone
underived:
  description: The derived files that were removed.
  type: list
  elements: dict
  returned: success or failure
  contains: *derived
unwanted:
  description: The images that were no longer wanted when their download had ended.
  type: list
  elements: dict
  returned: success or failure
  contains: *file
failures:
  description: What did not succeed. When it is not empty, the module fails after everything else is done.
  type: list
  elements: dict
  returned: success or failure
  contains:
    list:
      description: The UUID of the list.
      type: str
      sample: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
    image:
      description: The UUID of the image, V(null) where the list itself could not be refreshed.
      type: str
      sample: 2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1
    code:
      description: The stable code of the refusal.
      type: str
      sample: checksum_mismatch
    detail:
      description: What was found.
      type: str
    remedy:
      description: What to do next.
      type: str
    context:
      description: Further facts.
      type: dict
actions:
  description: What was done, or in check mode would be done, in this order.
  type: list
  elements: dict
  returned: success or failure
  contains:
    action:
      description:
        - V(accept) for a list; V(subscribe) and V(unsubscribe) for one that an endorser list brings or takes away;
          V(download), V(expire), V(restore), V(read) or V(purge) for the file of an image;
          V(derive) and V(underive) for a file that is made of one.
      type: str
      sample: download
    image:
      description: The UUID of the image.
      type: str
      returned: for the file of an image
      sample: 2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1
    list:
      description: The UUID of the list.
      type: str
      sample: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
    reason:
      description: Why a subscription was ended.
      type: str
      returned: when the action is V(unsubscribe)
      sample: The site no longer subscribes to the endorser list 7c1f0a52-0c55-4c5c-a7f1-2f3f3c1d5a90.
    version:
      description: The version of the list, or of the image.
      type: str
      returned: unless a file is purged, or a subscription made or ended
      sample: '2'
    size:
      description: The size of the file in octets.
      type: int
      returned: for the file of an image
      sample: 2147483648
    name:
      description: The name of the file in the cache.
      type: str
      returned: for the file of an image
      sample: 2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1_2_9b71d224bd62f378
    path:
      description: The file.
      type: str
      returned: for files that were downloaded, read or restored
      sample: /var/lib/hepix-vmimages/cache/current/2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1_2_9b71d224bd62f378
    octets:
      description: How many octets were received.
      type: int
      returned: for files that were downloaded, read or restored
      sample: 2147483648
    seconds:
      description: How long it took.
      type: float
      returned: for files that were downloaded, read or restored
      sample: 5.41
    resumed_from:
      description: How many octets an earlier download had left, which were not received again.
      type: int
      returned: for files that were downloaded, read or restored
      sample: 0
    source:
      description: The address that the image was asked for at, V(null) for a file that was here.
      type: str
      returned: for files that were downloaded, read or restored
      sample: https://images.example.org/2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1/2.qcow2
    format:
      description: The format of the derived file.
      type: str
      returned: for derived files
      sample: qcow2
    sha512:
      description: The SHA-512 digest of the derived file.
      type: str
      returned: for derived files that were made
      sample: 3c9909...
    virtual_size:
      description: The size of the disk that a guest sees.
      type: int
      returned: for derived files that were made
      sample: 10737418240
    code:
      description: Why the file was moved or removed, or why it was no longer wanted.
      type: str
      returned: for files that are moved or removed
      sample: withdrawn
code:
  description: The stable code of the refusal.
  type: str
  returned: failure
  sample: checksum_mismatch
remedy:
  description: What to do next.
  type: str
  returned: failure
  sample: 'Do not use this file; ask the endorser to publish the image and the list together.'
context:
  description: Further facts about the refusal, such as paths, found and expected values.
  type: dict
  returned: failure
"""

import contextlib
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.arguments import (
    CATALOGUE,
    FORMATS,
    duration,
    optional_duration,
)
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.dependencies import CRYPTOGRAPHY, REQUESTS
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.running import run
from ansible_collections.hepix.vmimages.plugins.module_utils._core.outcome import Outcome
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site import settings
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.cache.sync import sync
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.cache.work import Limits
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.progress.telling import telling
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.catalogue import Catalogue

ARGUMENTS = {
    "lists": {"type": "list", "elements": "str", "default": []},
    "images": {"type": "list", "elements": "str", "default": []},
    "refresh": {"type": "bool", "default": False},
    "verify": {"type": "bool", "default": False},
    "purge_expired": {"type": "str"},
    "formats": FORMATS,
    "max_unpacked": {"type": "str"},
    "quota": {"type": "str"},
    "min_free": {"type": "str"},
    "keep_expired": {"type": "str"},
    "scrub": {"type": "bool", "default": False},
    "scrub_interval": {"type": "str"},
    "scrub_rate": {"type": "str"},
    "max_parallel": {"type": "int", "default": 2},
    "max_per_host": {"type": "int", "default": 4},
    "retries": {"type": "int", "default": 3},
    "timeout": {"type": "str", "default": "1d"},
    "minimum_rate": {"type": "int", "default": 1024},
    "watched": {
        "type": "dict",
        "options": {"run": {"type": "str", "required": True}, "patience": {"type": "int", "default": 60}},
    },
    **CATALOGUE,
}


def bring_up_to_date(module: AnsibleModule) -> Outcome:
    """Refresh the lists where asked for, then make the cache what they and the decisions say."""
    options, check = module.params, module.check_mode
    purge_expired = optional_duration(options, "purge_expired")
    limits = Limits(
        parallel=options["max_parallel"],
        per_host=options["max_per_host"],
        retries=options["retries"],
        timeout=duration(options, "timeout").total_seconds(),
        minimum_rate=options["minimum_rate"],
    )
    with contextlib.ExitStack() as stack:
        catalogue = stack.enter_context(
            Catalogue.open(options["state_dir"], index_path=options["index"], warn=module.warn)
        )
        board = stack.enter_context(telling(catalogue.state, "image_cache", dry=check, **(options["watched"] or {})))
        upkeep = settings.upkeep(catalogue.state.path, options, catalogue.warn)
        refreshed = Outcome(False)
        if options["refresh"]:
            from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.lists.refresh import refresh

            refreshed = refresh(catalogue, lists=options["lists"], check=check)
        synced = sync(
            catalogue,
            lists=options["lists"],
            images=options["images"],
            verify=options["verify"],
            scrub="also" if options["scrub"] else "no",
            purge_expired=purge_expired,
            limits=limits,
            upkeep=upkeep,
            check=check,
            progress=board,
        )
    return _both(refreshed, synced)


def _both(refreshed: Outcome, synced: Outcome) -> Outcome:
    return Outcome(
        changed=refreshed.changed or synced.changed,
        before={"lists": refreshed.before, "files": synced.before},
        after={"lists": refreshed.after, "files": synced.after},
        actions=(*refreshed.actions, *synced.actions),
        warnings=(*refreshed.warnings, *synced.warnings),
        data={
            **synced.data,
            "lists": refreshed.data.get("lists", []),
            "failures": [*refreshed.data.get("failures", []), *synced.data["failures"]],
        },
    )


def main() -> t.NoReturn:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    run(module, bring_up_to_date, needs=[CRYPTOGRAPHY, REQUESTS])


if __name__ == "__main__":
    main()
