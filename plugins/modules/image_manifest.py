#!/usr/bin/python
# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_manifest
short_description: List every package of the system in an image
version_added: 0.1.0
description:
  - Reads the package databases of the system under a directory, usually a mounted image, and lists every package as an
    SPDX 2.3 document in JSON, which O(hepix.vmimages.imagelist_publish#module:images[].package_manifest) takes.
  - The databases are those of dpkg (C(status), and C(status.d) of images made without dpkg) and of rpm - SQLite (EL9,
    Fedora), ndb (SUSE) and Berkeley DB (EL5 to EL8). Neither dpkg nor rpm is needed, and nothing of the image is run.
  - What no package brought is listed as well - distributions of Python, with their names and versions, and the trees
    under C(/opt), C(/srv), C(/usr/local) and C(/cvmfs), each with a digest of all its files.
  - A database that is empty or cannot be read to its end is a refusal, never a shorter list.
  - The same packages give the same document, its namespace included. The time of its creation is that of the first one.
author:
  - The hepix.vmimages contributors (@hepix-vmimages)
extends_documentation_fragment:
  - hepix.vmimages.attributes
  - hepix.vmimages.attributes.actiongroup
attributes:
  check_mode:
    support: full
    details:
      - Returns the packages, and whether the document would be written.
  diff_mode:
    support: full
    details:
      - Shows the packages that go and come.
  idempotent:
    support: full
options:
  root:
    description:
      - The directory of the system. V(/) is the running system itself.
    type: path
    required: true
  dest:
    description:
      - The file for the document, which is not a part of the image. When left out, none is written.
    type: path
  name:
    description:
      - The name of the document, such as the title and version of the image. When left out, the system's own name.
    type: str
seealso:
  - module: hepix.vmimages.image_mount
  - module: hepix.vmimages.imagelist_publish
  - ref: ansible_collections.hepix.vmimages.docsite.images
    description: What the collection does with images.
"""

EXAMPLES = r"""
- name: List the packages of the mounted image
  hepix.vmimages.image_manifest:
    root: /run/worker
    dest: /srv/endorser/worker-1.4.spdx.json
    name: worker 1.4
"""

RETURN = r"""
packages:
  description: The packages. Public keys that rpm keeps among them are left out.
  type: list
  elements: dict
  returned: success
  contains:
    kind:
      description: V(deb), V(rpm), or V(pypi) for a distribution of Python that no package brought.
      type: str
      sample: rpm
    name:
      description: The name.
      type: str
      sample: openssl
    epoch:
      description: The epoch; V(null) where none is stated.
      type: int
      sample: 1
    version:
      description: The version without epoch and release.
      type: str
      sample: 3.0.7
    release:
      description: The release, or the revision of Debian.
      type: str
      sample: 27.el9
    arch:
      description: The architecture.
      type: str
      sample: x86_64
    vendor:
      description: Who made it, as stated.
      type: str
      sample: AlmaLinux
    maintainer:
      description: The maintainer, or packager.
      type: str
      sample: AlmaLinux Packaging Team <packager@almalinux.org>
    licence:
      description: The licence as stated by rpm, or the short names in a machine-readable copyright file of Debian.
      type: str
      sample: ASL 2.0
    source:
      description: What it was built from, where stated.
      type: str
      sample: openssl-3.0.7-27.el9.src.rpm
    built:
      description: When it was built, in seconds since 1970; rpm alone tells.
      type: int
      sample: 1712345678
    installed:
      description: When it was installed, in seconds since 1970; rpm alone tells.
      type: int
      sample: 1732104000
    key:
      description: The id of the key that signed it; V(null) for a package without a signature, and for dpkg.
      type: str
      sample: d36cb86cb86b3716
    path:
      description: Where it lies, for what no package of the system brought; else V(null).
      type: str
      sample: /opt/vo/lib/python3.9/site-packages/numpy-1.26.4.dist-info
unowned:
  description:
    - The directories under C(/opt), C(/srv), C(/usr/local) and C(/cvmfs) with files that no package brought, and what
      else of programs is no package's.
  type: list
  elements: dict
  returned: success
  contains:
    path:
      description: The directory.
      type: str
      sample: /opt/vo
    files:
      description: How many files no package brought.
      type: int
      sample: 1204
    size:
      description: Their octets.
      type: int
      sample: 73400320
    sha256:
      description:
        - A digest of their paths and of all that they hold, which another content would not have; V(null) for a tree of
          more octets than are ever read, which is listed all the same.
      type: str
      sample: 0f3a9c5d1e2b...
databases:
  description: Where they were found.
  type: list
  elements: dict
  returned: success
  contains:
    path:
      description: The path in the system.
      type: str
      sample: /var/lib/rpm/rpmdb.sqlite
    format:
      description: V(dpkg), V(dpkg-status.d), V(sqlite), V(ndb) or V(bdb).
      type: str
      sample: sqlite
    count:
      description: How many packages it holds.
      type: int
      sample: 412
system:
  description: What system it is.
  type: dict
  returned: success
  contains:
    name:
      description: Its own name.
      type: str
      sample: AlmaLinux 9.4 (Seafoam Ocelot)
    id:
      description: The ID of os-release.
      type: str
      sample: almalinux
    version:
      description: The VERSION_ID of os-release.
      type: str
      sample: '9.4'
namespace:
  description: The namespace of the document, which only its content decides.
  type: str
  returned: success
  sample: urn:uuid:7f1dbf0a-0d2f-5b1a-9df8-1f2b8c6f6c3e
document:
  description: The document's file; V(null) where none is written.
  type: str
  returned: success
  sample: /srv/endorser/worker-1.4.spdx.json
sha512:
  description: The SHA-512 of the document's file; in check mode, of what it would be.
  type: str
  returned: success
  sample: 9b71d224bd62f378...
actions:
  description: What was done, or in check mode would be done.
  type: list
  elements: dict
  returned: success
  contains:
    action:
      description: V(write).
      type: str
      sample: write
    path:
      description: The file.
      type: str
      sample: /srv/endorser/worker-1.4.spdx.json
code:
  description: The stable code of the refusal.
  type: str
  returned: failure
  sample: packages_missing
remedy:
  description: What to do next.
  type: str
  returned: failure
  sample: Mount every file system of the image; a system without a package database cannot be endorsed.
context:
  description: Further facts about the refusal, such as paths, found and expected values.
  type: dict
  returned: failure
"""

import typing as t
from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.running import run
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.packages.manifest import make_manifest
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.root.tree import Root
from ansible_collections.hepix.vmimages.plugins.module_utils._core.outcome import Outcome

ARGUMENTS = {
    "root": {"type": "path", "required": True},
    "dest": {"type": "path"},
    "name": {"type": "str"},
}


def make(module: AnsibleModule) -> Outcome:
    """List the packages, and outside check mode write the document."""
    with Root(module.params["root"]) as root:
        return make_manifest(
            root,
            dest=module.params["dest"],
            name=module.params["name"],
            check=module.check_mode,
            now=datetime.now(timezone.utc),
        )


def main() -> t.NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
    )
    run(module, make)


if __name__ == "__main__":
    main()
