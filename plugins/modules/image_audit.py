#!/usr/bin/python
# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_audit
short_description: Check the system in an image against the endorsement policy
version_added: 0.1.0
description:
  - Checks the system under a directory, usually an image mounted read-only, against the policy on the endorsement of
    images, clause by clause, and repairs what is safe to repair if asked to.
  - Each finding tells a path and a line, and the first digits of the file's SHA-256, never the secret itself.
  - What cannot be read makes a check V(unknown), and an unknown check is no good one. Nothing of the image is run.
  - The report is what O(hepix.vmimages.imagelist_publish#module:images[].audit_report) takes.
  - The module does not fail for what it finds. Look at RV(report.result).
author:
  - The hepix.vmimages contributors (@hepix-vmimages)
extends_documentation_fragment:
  - hepix.vmimages.attributes
  - hepix.vmimages.attributes.actiongroup
attributes:
  check_mode:
    support: full
    details:
      - The system is told as it is, with the repairs and reports that would be made.
  diff_mode:
    support: full
    details:
      - Shows the paths that would be repaired, and nothing of what they hold.
  idempotent:
    support: full
options:
  root:
    description:
      - The directory of the system. V(/) is the running system itself.
    type: path
    required: true
  image:
    description:
      - The file of the raw image that the system lies on. It is read whole, before and after, so that the report says
        by its SHA-512 which image it is about, and that the audit did not change it.
      - A report without it cannot be published.
    type: path
  report:
    description:
      - The file for the report as JSON, outside the image. Its time is that of the first such report.
    type: path
  text_report:
    description:
      - The file for the report as text, outside the image.
    type: path
  accounts:
    description:
      - Accounts with a login shell that belong into the image.
    type: list
    elements: str
    default: []
  modes:
    description:
      - The modes that the image is said to boot in, as the list says of it. When left out, that is not checked.
    type: list
    elements: str
    choices: [kvm, xen_hvm, xen_para, xen_pvh]
  identity:
    description:
      - What C(/etc/hepix-image.json) of the image has to say, such as its C(uuid), C(title) and C(version) in the list.
    type: dict
  vulnerabilities:
    description:
      - A file with the known flaws of packages, for which nothing is asked of the network. Either entries of OSV - one,
        a list, one a line, or the archive (zip) of an ecosystem - or one JSON object of fixed versions by package.
      - Without it, or when it says nothing of the system, check P33 is V(unknown), which blocks. Then waive it, with
        the reason.
    type: path
  package_keys:
    description:
      - The keys, by id or fingerprint, that packages of rpm may be signed by. When left out, any signature will do.
        Signatures are not verified again.
    type: list
    elements: str
    default: []
  manifest:
    description:
      - The SPDX document of M(hepix.vmimages.image_manifest) that goes with the image, to be compared with what is
        installed.
    type: path
  patterns:
    description:
      - A file of regular expressions (of Python), one a line, for what the endorser knows to be confidential. Every
        file is searched. Neither the expression nor what it finds is told, only where.
    type: path
  scanner:
    description:
      - A command of the builder, as a list, that is run on the tree, such as a scanner for malware. C({root}) stands
        for the directory. Status 0 is clean, 1 says that something was found, and any other is unknown.
      - It is run in check mode, too. What it prints is a part of the report.
    type: list
    elements: str
    default: []
  free_space:
    description:
      - Whether swap, and the free space of ext2, ext3, ext4 and XFS, is searched for keys and hashes of passwords, if
        O(image) is named.
    type: bool
    default: true
  waivers:
    description:
      - What the endorser accepts. Waivers are a part of the report.
    type: list
    elements: dict
    default: []
    suboptions:
      check:
        description:
          - The id of the check.
        type: str
        required: true
      path:
        description:
          - The path of the finding, in which C(*) stands for any characters. When left out, every finding of the check,
            and that it is unknown.
        type: str
      reason:
        description:
          - Why it is accepted.
        type: str
        required: true
      until:
        description:
          - The last day of the waiver, such as V(2026-12-31), in UTC.
        type: str
        required: true
  fix:
    description:
      - Whether to repair what is safe to repair - passwords are locked, host keys, authorized keys, histories,
        installers' traces, copies of account files and ids of the machine are removed or emptied.
      - What is waived is left alone. There is no backup - what is removed is what must not be there.
      - Not together with O(image), whose octets it changes.
    type: bool
    default: false
seealso:
  - module: hepix.vmimages.image_mount
  - module: hepix.vmimages.image_manifest
  - module: hepix.vmimages.imagelist_publish
  - ref: ansible_collections.hepix.vmimages.docsite.audit
    description: The table of checks.
"""

EXAMPLES = r"""
- name: Audit the mounted image
  hepix.vmimages.image_audit:
    root: /run/worker
    image: /srv/images/worker.img
    report: /srv/endorser/worker-1.4.audit.json
    text_report: /srv/endorser/worker-1.4.audit.txt
    modes: [kvm, xen_hvm, xen_para]
    vulnerabilities: /srv/endorser/osv-debian.zip
    manifest: /srv/endorser/worker-1.4.spdx.json
    scanner: [clamscan, --recursive, --infected, --no-summary, '{root}']
    waivers:
      - check: P22
        path: /var/log/*
        reason: The log of the build is public.
        until: '2027-06-30'
  register: audit

- name: Insist on a clean image
  ansible.builtin.assert:
    that: audit.report.result in ['pass', 'waived']

- name: Repair the image that is mounted for writing
  hepix.vmimages.image_audit:
    root: /run/worker
    fix: true
"""

RETURN = r"""
report:
  description: The report, as its file has it. After repairs, it tells what is left.
  type: dict
  returned: success
  contains:
    tool:
      description: What made it.
      type: str
      sample: hepix.vmimages.image_audit
    created:
      description: When.
      type: str
      sample: '2026-11-20T12:00:00Z'
    result:
      description: V(pass), V(waived), V(unknown) or V(fail). A warning alone does not keep an image from passing.
      type: str
      sample: fail
    image:
      description: The image; V(null) where none was named.
      type: dict
      contains:
        path:
          description: Its file.
          type: str
          sample: /srv/images/worker.img
        size:
          description: Its size in octets.
          type: int
          sample: 10737418240
        sha512:
          description: Its SHA-512, the same before and after.
          type: str
          sample: 9b71d224bd62f378...
    system:
      description: What system it is.
      type: dict
      contains:
        name:
          description: Its own name.
          type: str
          sample: Debian GNU/Linux 12 (bookworm)
        id:
          description: The ID of os-release.
          type: str
          sample: debian
        version:
          description: The VERSION_ID of os-release.
          type: str
          sample: '12'
        init:
          description: V(systemd), V(upstart), V(sysv), or V(null).
          type: str
          sample: systemd
        initrd_tool:
          description: What makes its initrds.
          type: str
          sample: initramfs-tools
    checks:
      description: Every check of the table, in order.
      type: list
      elements: dict
      contains:
        id:
          description: The id.
          type: str
          sample: P06
        clause:
          description: The clause of the policy, or V(practice).
          type: str
          sample: 2.d
        severity:
          description: V(error), V(warning) or V(note).
          type: str
          sample: error
        title:
          description: What is as it should be if nothing is found.
          type: str
          sample: No ssh key lets anybody in
        result:
          description: V(pass), V(fail), V(warn), V(note), V(waived), V(not_applicable) or V(unknown).
          type: str
          sample: fail
        why:
          description: Why it is unknown.
          type: str
          sample: null
        findings:
          description: What was found.
          type: list
          elements: dict
          contains:
            path:
              description: The path in the system.
              type: str
              sample: /root/.ssh/authorized_keys
            line:
              description: The line, from 1.
              type: int
              sample: 1
            text:
              description: What it is.
              type: str
              sample: 'A key lets its owner in: ssh-ed25519.'
            sha256:
              description: The first digits of the SHA-256 of the whole file, where that helps to recognise it.
              type: str
              sample: 0f3a9c5d1e2b
            severity:
              description: V(error), V(warning) or V(note).
              type: str
              sample: error
        waived:
          description: What was found and is covered by a waiver.
          type: list
          elements: dict
          contains:
            path:
              description: The path in the system.
              type: str
              sample: /root/.ssh/authorized_keys
            line:
              description: The line, from 1.
              type: int
              sample: 1
            text:
              description: What it is.
              type: str
              sample: 'A key lets its owner in: ssh-ed25519.'
            sha256:
              description: The first digits of the SHA-256 of the whole file, where that helps to recognise it.
              type: str
              sample: 0f3a9c5d1e2b
            severity:
              description: V(error), V(warning) or V(note).
              type: str
              sample: error
    rules:
      description: The SHA-256 of the rules - of the table of checks, and of the code of each.
      type: str
      sample: 3b1f6a0c...
    versions:
      description: The versions of Python, Linux and the tools for images on the machine that audited.
      type: dict
      sample: {'python': '3.11.2', 'qemu-img': 'qemu-img version 7.2.9'}
    given:
      description: What the audit was given to compare with; files by their SHA-256.
      type: dict
      contains:
        accounts:
          description: The accounts that belong into the image.
          type: list
          elements: str
          sample: []
        free_space:
          description: Whether free space was searched, where an image was named.
          type: bool
          sample: true
        identity:
          description: What the image has to say of itself.
          type: dict
          sample: {'version': '1.4'}
        manifest:
          description: The SHA-256 of the manifest.
          type: str
          sample: 0f3a9c5d1e2b...
        modes:
          description: The modes that it is said to boot in.
          type: list
          elements: str
          sample: [kvm]
        package_keys:
          description: The keys that packages may be signed by.
          type: list
          elements: str
          sample: []
        patterns:
          description: The SHA-256 of the file of patterns.
          type: str
          sample: 0f3a9c5d1e2b...
        scanner:
          description: The command that scanned.
          type: list
          elements: str
          sample: [clamscan, --recursive, --infected, '{root}']
        vulnerabilities:
          description: The SHA-256 of the file about known flaws.
          type: str
          sample: 0f3a9c5d1e2b...
    waivers:
      description: The waivers.
      type: list
      elements: dict
      contains:
        check:
          description: The id of the check.
          type: str
          sample: P22
        path:
          description: The path or pattern.
          type: str
          sample: /var/log/*
        reason:
          description: Why.
          type: str
          sample: The log of the build is public.
        until:
          description: The last day.
          type: str
          sample: '2027-06-30'
        expired:
          description: Whether that day is over, so that it covers nothing.
          type: bool
          sample: false
actions:
  description: What was done, or in check mode would be done.
  type: list
  elements: dict
  returned: success
  contains:
    action:
      description: V(removed), V(emptied), V(passwords locked), or V(write) for a report.
      type: str
      sample: removed
    path:
      description: The path in the system, or that of the report.
      type: str
      sample: /root/.bash_history
code:
  description: The stable code of the refusal.
  type: str
  returned: failure
  sample: audit_moved
remedy:
  description: What to do next.
  type: str
  returned: failure
  sample: Shut down and unmount what writes to the image (mount it read-only), and audit it again.
context:
  description: Further facts about the refusal, such as paths, found and expected values.
  type: dict
  returned: failure
"""

import typing as t
from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.running import run
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.audit.auditing import Wanted, audit
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.audit.inputs import read_inputs
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.root.tree import Root
from ansible_collections.hepix.vmimages.plugins.module_utils._core.outcome import Outcome

ARGUMENTS = {
    "root": {"type": "path", "required": True},
    "image": {"type": "path"},
    "report": {"type": "path"},
    "text_report": {"type": "path"},
    "accounts": {"type": "list", "elements": "str", "default": []},
    "modes": {"type": "list", "elements": "str", "choices": ["kvm", "xen_hvm", "xen_para", "xen_pvh"]},
    "identity": {"type": "dict"},
    "vulnerabilities": {"type": "path"},
    "package_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "manifest": {"type": "path"},
    "patterns": {"type": "path"},
    "scanner": {"type": "list", "elements": "str", "default": []},
    "free_space": {"type": "bool", "default": True},
    "waivers": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "check": {"type": "str", "required": True},
            "path": {"type": "str"},
            "reason": {"type": "str", "required": True},
            "until": {"type": "str", "required": True},
        },
    },
    "fix": {"type": "bool", "default": False},
}


def look(module: AnsibleModule) -> Outcome:
    """Audit the system, and outside check mode repair it and write the reports."""
    options = module.params
    names = ("accounts", "modes", "vulnerabilities", "package_keys", "manifest", "patterns", "scanner", "free_space")
    identity = options["identity"]
    asked, given = read_inputs(
        **{name: options[name] for name in names},
        identity=None if identity is None else {str(key): str(value) for key, value in identity.items()},
    )
    wanted = Wanted(
        waivers=options["waivers"],
        asked=asked,
        given=given,
        image=options["image"],
        fix=options["fix"],
        report=options["report"],
        text_report=options["text_report"],
    )
    with Root(options["root"]) as root:
        return audit(root, wanted, check=module.check_mode, now=datetime.now(timezone.utc))


def main() -> t.NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
    )
    run(module, look)


if __name__ == "__main__":
    main()
