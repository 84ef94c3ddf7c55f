# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How web servers are reached, and who we are to them: mirrored by ACCESS in module_utils/_ansible/arguments.py."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragment hepix.vmimages.access."""

    DOCUMENTATION = r"""
options:
  ca_path:
    description:
      - A PEM file or a directory with the certification authorities of the web servers, such as
        C(/etc/grid-security/certificates). When left out, those of the system.
    type: path
  allow_private:
    description:
      - Whether addresses that somebody else names, in the list or in a redirect, may be private, loopback or link-local
        ones. Hosts that the options name may have any address.
    type: bool
    default: false
  credentials:
    description:
      - Who we are to servers that want to know. Every secret is a file that only its owner may read, and that the user
        who fetches must be able to read. It is read when it is used, so that it may be renewed at any time.
      - They are only sent to the host that each names, only over C(https), and to no other host after a redirect.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description:
          - The host, or host and port, of the server.
        type: str
        required: true
      token_file:
        description:
          - A file with a bearer token.
        type: path
      password_file:
        description:
          - A file with C(user:password), for basic authentication.
        type: path
      certificate:
        description:
          - The client certificate in PEM form, with the certificates of its issuers where the server needs them. A grid
            proxy (RFC 3820), which has the key in the same file, will do.
        type: path
      private_key:
        description:
          - The key of the client certificate in PEM form, not encrypted, if it is not in the same file.
        type: path
  proxy:
    description:
      - The HTTP proxy to ask, such as V(http://squid.example.org:3128). V(environment) means those that the environment
        variables E(http_proxy), E(https_proxy), E(all_proxy) and E(no_proxy) name.
      - When left out, servers are asked directly, whatever the environment says.
      - What the proxy connects to in the end is for the proxy to restrict.
    type: str
  proxy_password_file:
    description:
      - A file with C(user:password) for O(proxy).
    type: path
  no_proxy:
    description:
      - Hosts, and domains with all hosts in them, that are asked directly in spite of O(proxy).
    type: list
    elements: str
    default: []
"""
