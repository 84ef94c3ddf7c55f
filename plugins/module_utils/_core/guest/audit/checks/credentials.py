# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clauses 2.c and 2.d: keys, certificates and credentials of any form."""

from __future__ import annotations

import re
import stat
import typing as t

from ...root.walking import Allowance, walk
from ..model import WARNING, Finding, Repair, Subject
from ..places import digest, files, rows, size_of

_KEY: t.Final = re.compile(rb"^-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----", re.MULTILINE)
_SMALL: t.Final = 64 * 1024

_CREDENTIALS: t.Final = [
    ".aws/credentials",
    ".config/gcloud/credentials.db",
    ".config/gcloud/application_default_credentials.json",
    ".azure/*.json",
    ".docker/config.json",
    ".netrc",
    ".pgpass",
    ".my.cnf",
    ".git-credentials",
    ".pypirc",
    ".npmrc",
    ".kube/config",
    ".vault-token",
    ".gnupg/secring.gpg",
    ".gnupg/private-keys-v1.d/*.key",
    ".config/openstack/clouds.yaml",
    ".s3cfg",
    ".boto",
    ".ansible/vault*",
    ".config/gh/hosts.yml",
    ".rclone.conf",
    ".config/rclone/rclone.conf",
]
_ENROLMENT: t.Final = [
    "/etc/sysconfig/rhn/systemid",
    "/etc/pki/consumer/*.pem",
    "/etc/pki/entitlement/*.pem",
    "/etc/puppet/ssl/private_keys/*",
    "/etc/puppetlabs/puppet/ssl/private_keys/*",
    "/var/lib/puppet/ssl/private_keys/*",
    "/etc/salt/pki/minion/minion.pem",
    "/var/lib/ipa-client/sysrestore/*",
    "/etc/ipa/default.conf",
    "/var/lib/sss/db/*.ldb",
    "/etc/chef/client.pem",
    "/etc/chef/validation.pem",
    "/etc/zabbix/*.psk",
    "/etc/vmcatcher/vmcatcher.conf",
]
_KERBEROS: t.Final = [
    "/etc/krb5.keytab",
    "/etc/krb5/krb5.keytab",
    "/tmp/krb5cc_*",
    "/var/tmp/krb5cc_*",
    "/var/kerberos/krb5kdc/principal*",
    "/var/kerberos/krb5kdc/.k5*",
    "/var/lib/krb5kdc/principal*",
    "/usr/afs/etc/KeyFile*",
    "/usr/afs/etc/rxkad.keytab",
    "/etc/openafs/server/KeyFile*",
    "/etc/openafs/server/rxkad.keytab",
]


def found(subject: Subject, paths: t.Iterable[str], text: str, *, severity: str | None = None) -> list[Finding]:
    """A finding for each path."""
    return [Finding(path, text, None, severity, digest(subject.root, path)) for path in paths]


def has_key(subject: Subject, path: str) -> bool:
    """Whether a small file holds a private key, encrypted or not."""
    size = size_of(subject.root, path)
    return 0 < size <= _SMALL and _KEY.search(subject.root.read(path) or b"") is not None


def authorized_keys(subject: Subject) -> t.Iterator[Finding]:
    """Keys that let somebody in, in the home of any account and where sshd is told to look."""
    patterns = [".ssh/authorized_keys", ".ssh/authorized_keys2"]
    for _number, row in rows(subject.root, "/etc/ssh/sshd_config"):
        words = row.replace("=", " ", 1).split()
        if words[0].lower() == "authorizedkeysfile":
            patterns += [word.strip('"') for word in words[1:] if word.lower() != "none"]
    named = {account.home: account.name for account in subject.places.accounts}
    paths = ["/etc/ssh/authorized_keys/*"]
    for home in dict.fromkeys([*subject.places.homes, *named]):
        for pattern in patterns:
            path = pattern.replace("%h", home).replace("%u", named.get(home, "*")).replace("%%", "%")
            paths.append(path if path.startswith("/") else f"{home.rstrip('/')}/{path}")
    for path in files(subject.root, *dict.fromkeys(paths)):
        for number, row in rows(subject.root, path):
            yield Finding(path, f"A key lets its owner in: {row.split()[0][:40]}.", number)


def host_keys(subject: Subject) -> list[Finding]:
    """Keys of the ssh server, which every machine made of the image would share."""
    paths = files(
        subject.root, "/etc/ssh/*host*key", "/etc/ssh/*host*key.pub", "/etc/ssh_host*", "/etc/dropbear/*host_key"
    )
    return found(subject, paths, "A host key of ssh.")


def host_keys_are_made(subject: Subject) -> list[Finding] | None:
    """Whether something makes new ones at the first start."""
    root = subject.root
    if not any(root.is_file(f"{place}/sshd") for place in ("/usr/sbin", "/sbin")):
        return None
    units = [f"{place}/systemd/system/*.service" for place in ("/etc", "/lib", "/usr/lib")]
    scripts = ["/etc/init.d/*", "/etc/rc.d/init.d/*", "/etc/rc.local", "/etc/rc.d/rc.local"]
    if any(root.is_file(f"{place}/cloud-init") for place in ("/usr/bin", "/bin")):
        return []
    for path in files(root, *scripts, *units):
        if "keygen" in (root.text(path) or ""):
            return []
    return [Finding("/usr/sbin/sshd", "Nothing makes host keys at the first start: sshd would not run.")]


def client_keys(subject: Subject) -> list[Finding]:
    """Private keys in the .ssh of any home."""
    paths = [path for home in subject.places.homes for path in files(subject.root, f"{home}/.ssh/*")]
    keys = [path for path in paths if has_key(subject, path) or _is_identity(path)]
    return found(subject, keys, "A private key of ssh.")


def _is_identity(path: str) -> bool:
    name = path.rsplit("/", 1)[-1]
    return name.startswith("id_") and not name.endswith(".pub")


def grid_certificates(subject: Subject) -> list[Finding]:
    """Host and service certificates and keys of the grid; those of CAs are what belongs there."""
    skip = tuple(f"/etc/grid-security/{name}" for name in ("certificates", "vomsdir"))
    paths = [
        path for path, status in walk(subject.root, "/etc/grid-security", skip=skip) if stat.S_ISREG(status.st_mode)
    ]
    named = re.compile(r"(?:host|cert|key)[^/]*\.(?:pem|p12|pfx|key|crt)\Z")
    return found(
        subject,
        [path for path in paths if named.search(path.rsplit("/", 1)[-1]) or has_key(subject, path)],
        "A host or service certificate, or its key.",
    )


def tls_keys(subject: Subject) -> list[Finding]:
    """Private keys of servers."""
    given = files(subject.root, "/etc/pki/tls/private/*", "/etc/ssl/private/*", "/etc/pki/tls/certs/localhost.key")
    stores = [
        path
        for path, status in walk(subject.root, "/etc", skip=("/etc/grid-security",))
        if stat.S_ISREG(status.st_mode) and path.endswith((".p12", ".pfx", ".jks"))
    ]
    # NSS makes its databases with the package, empty: only their owner can tell what is in them.
    shared = files(subject.root, "/etc/pki/nssdb/key3.db", "/etc/pki/nssdb/key4.db")
    text = "A private key, or a store of them."
    return [*found(subject, dict.fromkeys([*given, *stores]), text), *found(subject, shared, text, severity=WARNING)]


def user_certificates(subject: Subject) -> list[Finding]:
    """Certificates and proxies of people."""
    homes = [f"{home}/.globus/*{end}" for home in subject.places.homes for end in (".pem", ".p12", ".pfx")]
    proxies = [f"{place}/{name}" for place in ("/tmp", "/var/tmp") for name in ("x509up_u*", "x509up_*", "*proxy*")]
    return found(subject, files(subject.root, *homes, *proxies), "A certificate, key or proxy of a person.")


def kerberos(subject: Subject) -> list[Finding]:
    """Keys and tickets of Kerberos and AFS."""
    homes = [f"{home}/{name}" for home in subject.places.homes for name in (".k5login", ".k5users")]
    return found(subject, files(subject.root, *_KERBEROS, *homes), "A key, ticket or permission of Kerberos.")


def credentials(subject: Subject) -> list[Finding]:
    """Credentials that programs keep in a home."""
    paths = [f"{home}/{name}" for home in subject.places.homes for name in _CREDENTIALS]
    return found(subject, files(subject.root, *paths), "Credentials of a program.")


def any_private_key(subject: Subject) -> list[Finding]:
    """Private keys in the small files of every place where people put them."""
    tops = ["/etc", "/root", "/home", "/opt", "/srv", "/var/www", "/var/lib", "/tmp", *subject.places.homes]
    skip = ("/var/lib/dpkg", "/var/lib/rpm")
    allowance = Allowance()
    paths = []
    for path, status in walk(subject.root, *dict.fromkeys(tops), skip=skip):
        if stat.S_ISREG(status.st_mode) and 0 < status.st_size <= _SMALL:
            allowance.take(status.st_size, path)
            paths += [path] if has_key(subject, path) else []
    return found(subject, dict.fromkeys(paths), "A private key.")


def enrolment(subject: Subject) -> list[Finding]:
    """What a machine is known by to services that manage it."""
    return found(subject, files(subject.root, *_ENROLMENT), "A machine's enrolment with a service.")


_SECRETS: t.Final = (
    (
        ("/etc/NetworkManager/system-connections/*",),
        re.compile(r"(?:psk|password|.*-password|wep-key\d|secret)\s*=\s*\S"),
    ),
    (("/etc/wpa_supplicant/*", "/etc/wpa_supplicant.conf"), re.compile(r"(?:psk|password|wep_key\d)\s*=\s*\S")),
    (("/etc/sysconfig/network-scripts/keys-*",), re.compile(r"\w+=\S")),
    (("/etc/ipsec.secrets", "/etc/ipsec.d/*.secrets"), re.compile(r"(?!include\b).*\b(?:PSK|RSA|EAP|XAUTH|ECDSA)\b")),
    (("/etc/ppp/chap-secrets", "/etc/ppp/pap-secrets"), re.compile(r"\S+\s+\S+\s+\S")),
    (("/etc/snmp/snmpd.conf",), re.compile(r"(?:rocommunity6?|rwcommunity6?|com2sec6?|createUser)\s", re.IGNORECASE)),
    (("/etc/wireguard/*.conf",), re.compile(r"(?:PrivateKey|PresharedKey)\s*=", re.IGNORECASE)),
    (("/etc/openvpn/*", "/etc/openvpn/client/*", "/etc/openvpn/server/*"), re.compile(r"-----BEGIN .*KEY|<secret>")),
)


def network_secrets(subject: Subject) -> t.Iterator[Finding]:
    """Passwords and keys of networks."""
    for patterns, secret in _SECRETS:
        for path in files(subject.root, *patterns):
            for number, row in rows(subject.root, path):
                if secret.match(row):
                    yield Finding(path, "A secret of a network.", number)


def remove_from_tmp(_subject: Subject, findings: t.Sequence[Finding]) -> t.Iterator[Repair]:
    """Proxies and tickets in the directories for temporary files go; the rest is left to its owner."""
    for finding in findings:
        if finding.path.startswith(("/tmp/", "/var/tmp/")):
            yield Repair(finding.path, None, "removed")
