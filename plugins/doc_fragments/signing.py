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
      metadata:
        description:
          - Further keys of the endorser and their values. V(null) as a value removes the key.
        type: dict
        default: {}
  certificate:
    description:
      - The certificate that the list is signed with - a PEM file, a PKCS#12 file which holds the private key as well,
        or the address of a certificate on a token (V(pkcs11:)).
      - When left out, it is where the grid's tools and vmcaster look for it, the first of E(X509_USER_CERT),
        E(VMCASTER_X509_CERT), C(usercert.pem) or C(usercred.p12) in E(VMCASTER_X509_DIR), and the same in C(~/.globus).
      - A host's certificate also needs O(allow_host), here and in the subscriptions.
    type: path
  private_key:
    description:
      - The private key of O(certificate) - a PEM file that only its owner can read, or the address of a key on a
        PKCS#11 token, such as V(pkcs11:token=Name;object=Label?module-path=/usr/lib/softhsm/libsofthsm2.so). A key on a
        token needs the Python library C(python-pkcs11).
      - When left out, it is in the file of O(certificate). Without O(certificate) it is the first of E(X509_USER_KEY),
        E(VMCASTER_X509_KEY), and C(userkey.pem) beside C(usercert.pem).
    type: path
  passphrase:
    description:
      - The passphrase of O(private_key), where it is encrypted, or the PIN of its token.
    type: str
  passphrase_file:
    description:
      - A file whose first line is the passphrase of O(private_key), or the PIN of its token.
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
          - How to upload. Whatever the method, a file appears in one step, and is compared afterwards.
          - V(local) writes into a directory of this host, such as one that a web server serves.
          - V(sftp) uses OpenSSH with the running user's configuration, agent and known hosts. The place is written
            V(sftp://user@host:port/full/path), or V(user@host:path) as for C(scp). An upload that was cut is
            continued by the next run. V(scp) is the same.
          - V(webdav) sends to an V(https://) address with C(PUT) and C(MOVE), as nginx, dCache and StoRM understand
            them.
          - V(s3) sends to V(s3://bucket/key); it needs the Python library C(boto3).
          - V(egiappdb) submits the list to the EGI AppDB at V(egiappdb://user@host/path), as vmcaster did; it takes no
            images.
        type: str
        choices: [local, sftp, scp, webdav, s3, egiappdb]
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
      ssh_key:
        description:
          - The private key for V(sftp). When left out, the user's agent and configuration are asked.
        type: path
      ssh_known_hosts:
        description:
          - The file with the host keys that V(sftp) believes. When left out, it is the user's. A host that is not in it
            is refused.
        type: path
      ssh_config:
        description:
          - The configuration file of OpenSSH for V(sftp), in place of the user's.
        type: path
      client_certificate:
        description:
          - The PEM file of the certificate that V(webdav) or V(egiappdb) shows to the server. A grid proxy is one file
            for this option alone.
        type: path
      client_key:
        description:
          - The private key of O(uploads[].client_certificate), where it is not in the same file. It must not be
            encrypted.
        type: path
      token_file:
        description:
          - A file whose first line is the bearer token for V(webdav).
        type: path
      credentials_file:
        description:
          - For V(webdav) and V(egiappdb) a file whose first line is a user and a password with a colon between them;
            for V(s3) a file in the format of C(~/.aws/credentials).
          - A file with a secret must be readable by its owner only, and is never sent over a connection without TLS.
        type: path
      ca_path:
        description:
          - The CAs of the server, a PEM file or a hashed directory. When left out, they are the system's.
        type: path
      endpoint:
        description:
          - The address of the store for V(s3). When left out, it is Amazon's.
        type: str
      region:
        description:
          - The region for V(s3).
        type: str
      profile:
        description:
          - The profile for V(s3) in O(uploads[].credentials_file) or in the user's own configuration.
        type: str
      verify:
        description:
          - How an uploaded file is compared. V(size) asks the server for its size, V(sha512) reads it back.
        type: str
        choices: [size, sha512]
        default: size
  vmcaster_config:
    description:
      - A configuration file of vmcaster. Its sections are used as upload rules after those of O(uploads), each for the
        addresses of its server.
      - For its protocol C(egiappdb), O(certificate) and O(private_key) are shown to the server; the key must then not
        be encrypted.
    type: path
"""
