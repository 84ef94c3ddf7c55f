# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every refusal of the collection: one exception tree, stable codes, and for each code what to do next.

A code never changes its meaning and never means two things. What a reader sees is ``<detail> <remedy>`` with the
code beside it; the detail says what was found, the remedy says what mends it.
"""

from __future__ import annotations

import typing as t

#: code -> remedy: one or two sentences that tell the reader what to do next.
REMEDIES: t.Final[t.Mapping[str, str]] = {
    # trust: the message
    "too_large": "Check that the address is that of an image list: a signed list is never larger than the stated cap.",
    "mime_malformed": "Fetch the list again; if it stays so, ask the endorser to publish the signed message unchanged.",
    "mime_unsupported": "Ask the endorser for an S/MIME message (multipart/signed or application/pkcs7-mime).",
    "cms_malformed": "Ask the endorser to sign the list again with a maintained tool.",
    "cms_not_signed_data": "Ask the endorser for a signed message; encrypted or plain CMS is not an image list.",
    "cms_content_type": "Ask the endorser to sign the list as plain data (id-data).",
    "cms_dual_content": "Ask the endorser for either a detached or an opaque signature, not both.",
    "cms_no_content": "Ask the endorser to publish the signed content together with its signature.",
    "cms_no_signed_attributes": "Ask the endorser to sign with signed attributes (the default of every S/MIME tool).",
    "cms_signer_count": "Ask the endorser for a message with exactly one signature.",
    "signer_certificate": "Ask the endorser to embed the signing certificate, once, in the message.",
    "certificate_malformed": "Ask the endorser for a message with an intact certificate.",
    "digest_mismatch": "The content is not what was signed: fetch it again, and do not use this copy.",
    "bad_signature": "Do not use this message; fetch it again or ask the endorser to sign it anew.",
    "weak_algorithm": "Ask the endorser to sign with SHA-256 or stronger; only a SHA-1 message digest can be allowed "
    "(option allow_sha1).",
    "weak_key": "Ask the endorser for a certificate with an RSA key of at least 2048 bits or an EC key.",
    "unsupported_algorithm": "Ask the endorser to sign with RSA, ECDSA (P-256, P-384, P-521) or Ed25519 and SHA-2.",
    # trust: the signer and the path
    "proxy_certificate": "Sign with the end-entity certificate itself, not with a proxy made from it.",
    "not_end_entity": "Sign with a personal certificate; a CA certificate does not endorse images.",
    "key_usage": "Sign with a certificate whose key usage allows digital signatures.",
    "extended_key_usage": "Sign with a certificate for e-mail or client use, or allow host certificates (allow_host).",
    "no_trust_anchor": "Install the CA's root certificate in the trust anchors directory, if the site trusts that CA.",
    "no_valid_path": "Check the validity dates of the signer's certificate and of its CAs, and the installed anchors.",
    "revoked": "The CA has revoked this certificate: ask the endorser for a list signed with a new one.",
    "crl_unavailable": "Run fetch-crl (or install the CA's current CRL in the trust anchors directory) and try again.",
    "namespace_violation": "The CA may not issue this name: report it to the CA, and do not use the list.",
    "namespace_missing": "Install the CA's .namespaces or .signing_policy file next to its certificate.",
    "policy_malformed": "Reinstall the CA's .namespaces and .signing_policy files from their distribution.",
    "anchors_unsafe": "Make the trust anchors directory writable by root and the service's own user only.",
    "anchors_unreadable": "Check the path and the permissions of the trust anchors.",
    "dn_ambiguous": "Ask the endorser for a certificate whose name contains no '/'.",
    "internal_error": "This is a defect: nothing was accepted. Please report it with the message that caused it.",
    "library_missing": "Install the missing library for the named interpreter, or set ansible_python_interpreter to an "
    "environment that has it.",
    # the list
    "json_invalid": "Ask the endorser to publish a list that is strict JSON.",
    "list_malformed": "Ask the endorser to correct the named field and publish the list again.",
    "endorser_mismatch": "Ask the endorser to name in hv:endorser the certificate that signs the list.",
    "not_authorised": "Add the signer to the subscription's endorsers, if the site trusts this person for this list.",
    "identifier_mismatch": "Check the subscription's address; a list never changes its identifier.",
    "list_not_yet_valid": "Check this machine's clock; otherwise wait for the date of creation, or ask the endorser.",
    "list_expired": "Ask the endorser to publish the list with a new expiry date.",
    "rollback": "The server offers an older list than the accepted one: ask the endorser; nothing was changed. "
    "A content whose digest the endorser confirms can be let in (`vmimages rebaseline`).",
    "version_reused": "Ask the endorser to raise the list's version when its content changes.",
    # transfer
    "uri_unsupported": "Use an https, http or (where the administrator names it) file address.",
    "address_refused": "Allow private addresses for this subscription (allow_private) if the host is meant.",
    "unreachable": "Check the address, the name server and the network, and try again.",
    "timeout": "Try again later, or ask the server's administrator why it does not answer.",
    "tls_failed": "Install the server's CA (option ca_path) or ask for a correct server certificate.",
    "http_status": "Check the address with the server's administrator and try again.",
    "access_denied": "Give the credentials that this server asks for, or ask its administrator for access.",
    "secret_permissions": "Make the file readable by its owner only (chmod 0600).",
    "secret_unreadable": "Check the path of the file, that the running user may read it, and what it holds.",
    "encoding_refused": "Ask the server's administrator to serve the file as it is, without Content-Encoding.",
    "redirect_refused": "Use the final address in the subscription, or ask the server's administrator.",
    "not_found": "Check the address or the path.",
    "size_mismatch": "Ask the endorser to publish the image and the list together; the image was discarded.",
    "checksum_mismatch": "Do not use this file; ask the endorser to publish the image and the list together.",
    "transfer_busy": "Wait until the other process has finished; if there is none, try again.",
    "disk_full": "Free space on the named file system and try again.",
    "not_writable": "Give the running user write access to the named path, or choose another one.",
    "not_readable": "Give the running user read access to the named path, or choose another one.",
    "upload_failed": "Check the upload's destination and try again; what was published before is unchanged.",
    "host_key_unknown": "Connect once by hand and compare the host key's fingerprint, or name a file of known hosts "
    "(ssh_known_hosts).",
    "login_refused": "Give the key, certificate, token or password that the server accepts, and check what it may do.",
    "upload_method_gone": "Use sftp, webdav, s3, local or egiappdb instead.",
    "no_upload_rule": "Add an upload rule whose uri_match is a prefix of this address.",
    # unpacking and converting
    "format_unknown": "Ask the endorser to state the format (hv:format): raw, qcow2, vmdk, vdi, vhd, ova or tar, with "
    ".gz, .bz2, .xz or .zst if it is compressed.",
    "format_mismatch": "Ask the endorser to state the true format of the image (hv:format).",
    "backing_file": "Ask the endorser for an image that is whole by itself (`qemu-img convert` makes one); nothing of "
    "this host was read.",
    "external_file": "Ask the endorser for an image in one file (for VMDK: streamOptimized or monolithicSparse); "
    "nothing of this host was read.",
    "disk_unsupported": "Ask the endorser for an image without encryption or features that QEMU does not have.",
    "disk_damaged": "Ask the endorser to check the image (`qemu-img check`) and to publish it again.",
    "unpack_failed": "Ask the endorser to compress the image again, and to publish it with its new checksum.",
    "unpacked_too_large": "Raise max_unpacked if the site wants an image of this size; otherwise ask the endorser.",
    "archive_disks": "Ask the endorser for an archive with exactly one disk.",
    "archive_unsafe": "Do not use this archive; ask the endorser for one with plain files only.",
    "converter_missing": "Install qemu-img (package qemu-utils, qemu-img or qemu-tools), or ask for no other format.",
    "convert_failed": "Look at what qemu-img says; the endorsed file itself is untouched.",
    # signing and publishing
    "key_missing": "Check the path of the private key.",
    "key_permissions": "Make the private key readable by its owner only (chmod 0600).",
    "key_unreadable": "Check that the file is a private key (PEM or PKCS#12), or that the token is there and works.",
    "passphrase_wrong": "Give the passphrase of this private key.",
    "passphrase_missing": "The private key is encrypted: give its passphrase.",
    "certificate_missing": "Check the path of the certificate.",
    "key_mismatch": "Use the private key that belongs to the certificate.",
    "certificate_expired": "Renew the certificate, and sign with the new one.",
    "publish_invalid": "Correct the named option.",
    "evidence_missing": "Audit the image, list its packages, and name both files (audit_report, package_manifest).",
    "evidence_invalid": "Make the report or the manifest of this very image anew.",
    "audit_failed": "Mend what the report names, or have it waived with a reason, and audit the image again.",
    "published_meanwhile": "Run it again: it continues from what is published now; what was published is unchanged.",
    "version_not_raised": "Give a version higher than the published one, or leave it out.",
    "history_unreadable": "Restore the endorser's history directory from a backup; nothing was published.",
    "option_invalid": "Correct the named option.",
    # the site
    "import_invalid": "Correct the named place of the document; nothing was imported.",
    "state_missing": "Subscribe to a list first, or name the state directory that holds the subscriptions.",
    "state_newer": "Upgrade hepix.vmimages on this host: a newer version has written this state directory.",
    "state_owner": "Run as the owner of the state directory, or as root.",
    "state_busy": "Another writer holds the state directory; try again when it has finished.",
    "quota_exceeded": "Raise the quota (quota), name fewer images, or purge expired ones sooner (keep_expired).",
    "space_short": "Free space on the cache's file system, or lower min_free; nothing of the image was downloaded.",
    "interrupted": "Start it again: what is done stays done, and what was on its way is gone on with.",
    "cache_split": "Put downloading, current and expired on one file system: mount it at the cache directory itself.",
    "journal_damaged": "Restore the journal from a backup: lines of it were changed or lost (see `vmimages audit`). "
    "Only `vmimages rebuild --accept-journal` goes on with the lines that are left.",
    "index_damaged": "Run `vmimages rebuild`: the index is made anew from the journal, and nothing is lost.",
    "archive_damaged": "Restore the message archive from a backup; a stored message was changed or lost.",
    "unknown_list": "Use the identifier of a subscribed list; `vmimages status` shows them.",
    "unknown_image": "Use the UUID or the tag of an image in a subscribed list; `vmimages status` shows them.",
    "file_unknown": "Name a file of the cache. Whether another file is a copy of an endorsed image only its octets "
    "tell: have them read (`vmimages verdict --hash`, option hash of image_info).",
    "subscription_clash": "A list is subscribed once: to give it this address, set move; otherwise leave it as it is.",
    "subscription_invalid": "Correct the named option.",
    "decision_invalid": "Correct the named option.",
    "endorser_invalid": "Correct the named option.",
    "unknown_endorser": "Check the spelling; otherwise add the endorser first (module endorser), or subscribe to a "
    "list that this endorser may sign.",
    "rule_invalid": "Correct the named rule; the rules that stood before stay in force.",
    "settings_invalid": "Correct the named key of settings.json in the state directory.",
    "relay_unset": "Write the options of the site's own list into this file, as the role image_cache does "
    "(image_cache_relay), or name the file (--config).",
    "relay_invalid": "Correct the named option; the module imagelist_relay documents them.",
    "settings_unsafe": "Let only root and the owner of the state directory write this file (chmod go-w).",
    "handlers_unsafe": "Let only root and the owner of the state directory write the handlers, and the directories "
    "that lead to them (chmod go-w).",
    "handler_failed": "The journal has the handler's output; until its attempts are used up the event is tried again "
    "by later runs of `vmimages events`.",
    "mail_failed": "Check the mail settings in settings.json; the message lies in the outbox of the state directory.",
    "snapshot_missing": "Run `vmimages sync` (or wait for its timer) and try again.",
    "snapshot_stale": "Run `vmimages refresh` (or check its timer) and try again.",
    # guest: a system's tree, its files and its images
    "root_missing": "Name the directory that holds the system: a mounted image, an unpacked tree, or /.",
    "guest_not_a_file": "Only a regular file can be read or changed here: remove what the image has in its place.",
    "guest_not_found": "Check that the tree is that of a whole system, with every file system of the image mounted.",
    "guest_path_loop": "Correct the symbolic links of the image: they never lead to a file.",
    "guest_too_large": "A file of this kind is never so large: correct or remove it, and do not trust the image.",
    "guest_not_readable": "Check the image's file system, and that the user who runs this may read it.",
    "guest_not_writable": "Mount the image writable (image_mount), and check the file's attributes and free space.",
    "guest_hard_link": "Copy the file to one of its own (cp -p), or remove the other names, and try again.",
    "guest_malformed": "Correct the named file of the image by hand: what is meant cannot be told safely.",
    "image_missing": "Name the file of a disk image, or the directory of an unpacked system.",
    "image_format_unsupported": "Name the format of the image (format) to read it; to change it, convert it to a raw "
    "one first (qemu-img convert -O raw).",
    "copy_refused": "Name another directory for the copy (scratch_dir), or remove what is in its place.",
    "image_busy": "Shut down what uses the image, or unmount it there, and try again.",
    "disk_malformed": "Check the image: its partition table or a file system in it is not what its size allows.",
    "system_not_found": "Check the image: a system has /etc/fstab or /etc/passwd, on ext2, ext3, ext4, xfs or btrfs.",
    "filesystem_ambiguous": "Give every file system of the image a label and a UUID of its own.",
    "tool_missing": "Install the named program on this machine.",
    "mount_clash": "Unmount what is mounted there (state absent), or choose another directory.",
    "mount_failed": "Read what the command said; it needs root, loop devices and the file system in the kernel.",
    "unmount_failed": "End the named processes, or leave the directory, and try again.",
    "guest_foreign": "Build the initrds on a machine of the image's own architecture.",
    "guest_command_failed": "Read what the command said. Systems as old as EL6 crash on a builder whose kernel has no "
    "vsyscalls: boot it with vsyscall=emulate.",
    "initrd_incomplete": "Check the image's own configuration of initrds: what was built lacks what was asked for.",
    "backup_inside": "Choose a directory for backups that is not a part of the image.",
    "packages_missing": "Mount every file system of the image; a system without a package database cannot be endorsed.",
    "packages_malformed": "Repair the database inside the image (rpm --rebuilddb, or restore it), and try again.",
    "report_inside": "Name a file that is not a part of the image: writing it would change what it speaks of.",
    "waiver_invalid": "Name a check of the table, a reason, and the last day of the waiver (YYYY-MM-DD).",
    "audit_input_invalid": "Name a file that can be read, in the form that the option describes.",
    "flaws_unknown": "Give the audit data of known flaws (option vulnerabilities), or waive the check with a reason.",
    "space_unread": "Waive the check with a reason, or put the system on ext4 or XFS.",
    "scanner_failed": "Run the scanner by hand on the mounted image: status 0 is clean, 1 says that it found some.",
    "audit_moved": "Shut down and unmount what writes to the image (mount it read-only), and audit it again.",
    "audit_writes": "Repair first, without naming the image; then unmount it, and audit the image as it is.",
    # the verdict
    "withdrawn": "The endorser has removed this image from its list: move to its successor.",
    "blacklisted": "The site has blacklisted this image: ask the site's administrator.",
    "not_approved": "Approve the image, if the site wants it (image_decision).",
    "not_cached": "Run `vmimages sync` (image_cache) to download the image.",
    "not_installed_here": "Remove the file by hand, or name another destination: it was not installed from this cache.",
    "method_unsupported": "Put cache and destination on one file system that can share octets, or use the method copy.",
    "image_in_use": "Stop what uses the file, or name another destination; nothing was changed.",
    "not_derived": "Ask for this format (formats of the subscription, or of image_cache), and run `vmimages sync`.",
    "not_selected": "Name the image under the select of the subscription, if the site wants it cached.",
    "file_changed": "Run `vmimages sync` with verification: the cached file is no longer the verified one.",
    "image_expired": "Ask the endorser to renew the image, or allow it in spite of its age (run_anyway).",
    "uuid_clash": "Another list owns this image UUID: ask the endorser to choose a new one.",
    "unsubscribed": "Subscribe to the image's list again, if the site wants its images.",
    "list_stale": "Check why the list could not be refreshed: it is older than the site allows.",
    "not_yet_accepted": "Run `vmimages refresh`: no version of this list was accepted so far.",
    # contextualisation
    "variable_forbidden": "Choose another name: shells and programs give this one a meaning of their own.",
    "variable_invalid": "Name a variable with letters, digits and underscores, and give it a text or a number.",
    "file_name_refused": "Name the file with letters, digits and the characters _ . + - only, without a directory.",
    "file_name_clash": "Give every file of a context disk a name of its own, and leave the readers' names to them.",
    "target_refused": "Choose another place: sites change neither compiler, perl, python, kernel nor C library of an "
    "image, nor what the contextualisation itself consists of.",
    "source_restricted": "Copy the file elsewhere, or name its directory in safe_sources if guests may have it.",
    "content_too_large": "Put large data on a server that the guest asks: a context disk holds configuration.",
    "script_line_ends": "Convert the script's line ends (CR LF) to those of Unix (LF).",
    "payload_user_refused": "Name an ordinary user of the image: the payload never runs as root.",
    "package_refused": "Leave this package to the image's endorser: sites do not replace protected software.",
    "flavours_conflict": "Make two disks (option also): one volume has one label.",
    "label_invalid": "Leave the label out, or give 1 to 16 characters of letters, digits and _ . -.",
    "init_beside_prolog": "Give either init or prolog: the book's scripts ignore init.sh then, and "
    "one-context runs it.",
    "context_unreadable": "Check that the file is a whole ISO 9660 image.",
    # warnings about context disks
    "script_without_interpreter": "Begin the script with a line such as #!/bin/sh.",
    "secret_in_clear": "Give secrets by file (secret_variables, or src with secret), so that no log shows them.",
    "nobody_reads": "Add a flavour whose reader takes it, or leave it out.",
    "larger_than_readers_take": "Make the disk smaller, or make sure that its reader takes it.",
    "value_expanded": "Leave REPORT_READY out, or give the value in base64.",
    # machines
    "machine_invalid": "Correct the named option.",
    "boot_facts_missing": "Read the image with image_boot_info, and hand on what it returns.",
    "mode_not_bootable": "Choose another mode, or let image_boot make the image boot in this one.",
    "disk_place_refused": "Leave the place of the disk out, or choose one that the image sees in this mode.",
    "output_unsupported": "Choose another kind of template, or leave out what this one cannot express.",
    "domain_unreadable": "Hand over the XML of a domain as libvirt returns it.",
    # the gate before a start
    "gate_invalid": "Correct the named key of the gate's configuration; until then no machine starts here.",
    "gate_unsafe": "Let only root write the gate's configuration, and the directories that lead to it (chmod go-w).",
    "disk_foreign": "Start the machine from an image of the cache (image_instance), or allow it in the gate's "
    "configuration.",
    "disk_unseen": "Give the machine what the gate can look at: files and devices of this host. Otherwise allow this "
    "kind, or this machine, in the gate's configuration.",
    "disk_writable": "Lay an overlay on the file (qemu-img create -f qcow2 -b FILE -F FORMAT), or attach it read-only: "
    "no guest may change it.",
    "chain_refused": "Make the overlay anew on a file of the cache (qemu-img create -f qcow2 -b FILE -F FORMAT), and "
    "leave backingStore out of the domain or let it say the same.",
    "no_image_disk": "Give the machine a disk that is an image of the cache, and let it start from that one first.",
    "record_differs": "Make the instance anew (image_instance): its record speaks of another disk.",
    # instances
    "hypervisor_unreachable": "Check the connection's address, that its daemon runs, and who may connect to it.",
    "hypervisor_refused": "Read what libvirt said, mend it, and run this again: it goes on with what was done.",
    "start_refused": "Read what the hook said: `vmimages gate` names the verdict for the domain's disks.",
    "instance_foreign": "Choose another name or UUID: only what image_instance has recorded is changed or removed.",
    "instance_busy": "Wait for the other call, or end it, and run this again: it goes on with what was done.",
    "instance_outdated": "Set rebuild to make its disk anew, which loses what is on it, or name what it was made from.",
    "file_foreign": "Move the file away, or choose another path: only what was made for the instance is changed.",
    "device_too_small": "Name a larger block device.",
    "device_in_use": "Name another block device, stop what uses this one, or set overwrite: all that is on it is lost.",
    "ttl_over": "Give it more time (until, ttl_hours), or make it anew (state absent, then present).",
    "record_unsafe": "Let root own the directory of the instance records and all in it, and let nobody else write "
    "there (chmod go-w); then look at what was changed.",
    "record_malformed": "Restore the record from a backup, or remove the instance and make it anew (image_instance).",
}


class VmimagesError(Exception):
    """A refusal: a stable `code`, a `detail` that says what was found, and the code's remedy.

    `context` holds further facts for machines (paths, found and expected values); never a secret.
    """

    def __init__(self, code: str, detail: str, **context: t.Any) -> None:
        if code not in REMEDIES:
            raise ValueError(f"unknown refusal code: {code}")
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.context = context

    @property
    def remedy(self) -> str:
        """What the reader should do next."""
        return REMEDIES[self.code]

    @property
    def sentence(self) -> str:
        """What was found, as a whole sentence."""
        return self.detail if self.detail.endswith((".", "!", "?")) else f"{self.detail}."

    @property
    def message(self) -> str:
        """What was found and what to do next, for people."""
        return f"{self.sentence} {self.remedy}"

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    def as_dict(self) -> dict[str, t.Any]:
        """The refusal for JSON output: code, detail, remedy, context."""
        return {"code": self.code, "detail": self.sentence, "remedy": self.remedy, "context": dict(self.context)}


class TrustError(VmimagesError):
    """A message, a signer or a list does not prove what it must (`trust`, `imagelist`)."""


class TransferError(VmimagesError):
    """Octets could not be moved, or are not the expected ones (`transfer`)."""


class DiskError(VmimagesError):
    """A disk image cannot be unpacked or converted, or must not be (`disks`)."""


class PublishError(VmimagesError):
    """A list cannot be published as described (`endorser`)."""


class SiteError(VmimagesError):
    """The site's state does not allow what was asked (`site`)."""


class GuestError(VmimagesError):
    """An image, its file system or the system in it is not what was expected (`guest`)."""


class ContextError(GuestError):
    """A context disk cannot be made as described, or read (`guest.context`)."""


class HypervisorError(VmimagesError):
    """A machine cannot be had as described (`hypervisor`)."""


def unexpected(error: Exception, what: str) -> SiteError:
    """A defect that was met with one thing, ``list`` or ``image``: the refusal of that one, so that no server and no
    file can keep the others from being attended to."""
    return SiteError("internal_error", f"An unexpected {type(error).__name__} stopped this {what}: {error}.")
