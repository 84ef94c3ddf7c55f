# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a list is described, signed, kept and uploaded: mirrored by SIGNING in module_utils/_ansible/arguments.py."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragment hepix.vmimages.signing."""

    DOCUMENTATION = r"""
options:
  title:
    description:
      - The title of the list (C(dc:title)).
    type: str
  description:
    description:
      - What the list is for (C(dc:description)).
    type: str
  metadata:
    description:
      - Further keys of the list and their values, for readers that want them, for example C(ad:vo).
      - A key that the module writes itself is refused.
    type: dict
    default: {}
  endorser:
    description:
      - How whoever signs the list is to be reached.
    type: dict
    suboptions:
      name:
        description:
          - The name of the person or the site (C(dc:creator)). When left out, it is the one in the certificate.
        type: str
      email:
        description:
          - The endorser's address (C(hv:email)). When left out, it is the address in the certificate, where it has one.
        type: str
  certificate:
    description:
      - The certificate that the list is signed with, a PEM file.
      - A host's certificate also needs O(allow_host), here and in the subscriptions.
    type: path
    required: true
  private_key:
    description:
      - The private key of O(certificate), a PEM file that only its owner can read.
    type: path
    required: true
  passphrase:
    description:
      - The passphrase of O(private_key), where it is encrypted.
    type: str
  passphrase_file:
    description:
      - A file whose first line is the passphrase of O(private_key).
    type: path
  chain:
    description:
      - PEM files with the certificates between O(certificate) and the trust anchor, to be embedded in the message.
    type: list
    elements: path
    default: []
  digest:
    description:
      - The digest algorithm of the signature.
    type: str
    choices: [sha256, sha384, sha512]
    default: sha256
  history_dir:
    description:
      - The signer's record - every published message, and what is known of the images' files.
      - It belongs into a backup.
    type: path
    required: true
  uploads:
    description:
      - How addresses become places to write to. The first rule whose O(uploads[].uri_match) matches is used.
      - Without any rule nothing is uploaded; the signed message is then found at RV(message_path) only.
    type: list
    elements: dict
    default: []
    suboptions:
      method:
        description:
          - How to upload. V(local) writes into a directory of this host, such as one that a web server serves.
        type: str
        choices: [local]
        default: local
      uri_match:
        description:
          - A regular expression that matches the beginning of an address.
        type: str
        required: true
      uri_replace:
        description:
          - What the match is replaced by to give the path to write to. It may refer to groups of the expression.
        type: str
        required: true
"""
