# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a signed list must prove: mirrored by TRUST in module_utils/_ansible/arguments.py."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragment hepix.vmimages.trust."""

    DOCUMENTATION = r"""
options:
  anchors:
    description:
      - The trust anchors against which the signer of a list is verified.
      - Either a directory in the layout of the International Grid Trust Federation (C(<hash>.0), C(<hash>.r0),
        C(<hash>.namespaces), C(<hash>.signing_policy)), or a file with CA certificates in PEM form.
      - A directory that others than root and the running user may write to is refused.
    type: path
    default: /etc/grid-security/certificates
  crl_mode:
    description:
      - Whether every CA of the signer's certification path must have a current certificate revocation list.
      - With V(require), a CRL that is missing, out of date or not signed by its CA refuses the list.
      - With V(if-present), a CA without any CRL is accepted; a CRL that is there is judged as with V(require).
    type: str
    choices:
      - require
      - if-present
    default: require
  namespaces_mode:
    description:
      - Whether every CA of the signer's certification path must have a C(.namespaces) or C(.signing_policy) file that
        permits the names it issues.
      - With V(if-present), a CA without such a file may issue any name; set this for O(anchors) in one PEM file.
    type: str
    choices:
      - require
      - if-present
    default: require
  allow_sha1:
    description:
      - Accept SHA-1 as the digest of the message, as old lists have it.
      - This never concerns the signatures on certificates and CRLs.
    type: bool
    default: false
  allow_host:
    description:
      - Accept a host certificate as the signer of a list.
    type: bool
    default: false
"""
