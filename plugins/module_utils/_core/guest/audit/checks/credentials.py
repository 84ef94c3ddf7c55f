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

#: At the beginning of a line, or anywhere if a key follows: in JSON and YAML it is a part of a line.
_KEY: t.Final = re.compile(
    rb"^-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    rb"|-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:\\[rn]|\s)+[A-Za-z0-9+/]{8}"
    rb"|^PuTTY-User-Key-File-[0-9]|^AGE-SECRET-KEY-1",
    re.MULTILINE,
)
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
    ".config/git/credentials",
    ".config/containers/auth.json",
    ".config/pip/pip.conf",
    ".pip/pip.conf",
    ".cargo/credentials*",
    ".m2/settings*.xml",
    ".gem/credentials",
    ".smbcredentials",
    ".msmtprc",
    ".fetchmailrc",
    ".vnc/passwd",
    ".irods/.irodsA",
    ".condor/tokens.d/*",
    ".terraform.d/credentials.tfrc.json",
    ".local/share/keyrings/*.keyring",
    ".subversion/auth/svn.simple/*",
]
#: The same of the system: tokens, keys and passwords that its services show to others.
_OF_SERVICES: t.Final = [
    "/etc/apt/auth.conf",
    "/etc/apt/auth.conf.d/*",
    "/etc/ceph/*.keyring",
    "/etc/condor/passwords.d/*",
    "/etc/condor/tokens.d/*",
    "/etc/containers/auth.json",
    "/etc/credstore/*",
    "/etc/credstore.encrypted/*",
    "/etc/exim4/passwd.client",
    "/etc/kubernetes/*.conf",
    "/etc/ldap.secret",
    "/etc/libnss-ldap.secret",
    "/etc/pam_ldap.secret",
    "/etc/munge/munge.key",
    "/etc/mysql/debian.cnf",
    "/etc/openstack/clouds.yaml",
    "/etc/postfix/sasl_passwd",
    "/etc/rancher/k3s/k3s.yaml",
    "/etc/rancher/rke2/rke2.yaml",
    "/etc/slurm/jwt_hs256.key",
    "/etc/zypp/credentials.d/*",
    "/var/lib/kubelet/kubeconfig",
    "/var/lib/kubelet/pki/*.pem",
]
#: Lines of configuration in which a password may stand.
_PASSWORDS: t.Final = (
    (
        (
            *("/etc/apt/sources.list", "/etc/apt/sources.list.d/*", "/etc/apt/apt.conf", "/etc/apt/apt.conf.d/*"),
            *("/etc/yum.conf", "/etc/dnf/dnf.conf", "/etc/yum.repos.d/*.repo", "/etc/zypp/repos.d/*.repo"),
            *("/etc/environment", "/etc/profile.d/*.sh", "/etc/pip.conf", "/etc/wgetrc", "/etc/systemd/system.conf"),
        ),
        re.compile(r".*://[^/\s:@'\"]+:[^/\s@'\"]+@"),
    ),
    (
        ("/etc/yum.conf", "/etc/dnf/dnf.conf", "/etc/yum.repos.d/*.repo"),
        re.compile(r"(?:proxy_)?password\s*=\s*\S", re.IGNORECASE),
    ),
    (("/etc/fstab",), re.compile(r".*[\s,]pass(?:word|wd)?=[^,\s]")),
    (("/etc/sssd/sssd.conf", "/etc/sssd/conf.d/*.conf"), re.compile(r"ldap_default_authtok\s*=\s*\S")),
    (
        ("/etc/nslcd.conf", "/etc/ldap.conf", "/etc/ldap/ldap.conf", "/etc/openldap/ldap.conf", "/etc/pam_ldap.conf"),
        re.compile(r"(?:root)?bindpw\s+\S", re.IGNORECASE),
    ),
)
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
    "/var/lib/ubuntu-advantage/private/*",
    "/var/lib/sss/secrets/*",
    "/var/lib/tailscale/tailscaled.state",
    "/var/lib/amazon/ssm/registration",
]
_KERBEROS: t.Final = [
    "/etc/krb5.keytab",
    "/etc/krb5/krb5.keytab",
    "/etc/*.keytab",
    "/etc/httpd/conf/*.keytab",
    "/etc/apache2/*.keytab",
    "/var/kerberos/krb5/user/*",
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


#: Where packages put what they bring, and what is no file.
_NOT_OF_PEOPLE: t.Final = frozenset(
    {"bin", "dev", "lib", "lib32", "lib64", "libx32", "proc", "run", "sbin", "sys", "usr", "nix", "gnu"}
)


def found(subject: Subject, paths: t.Iterable[str], text: str, *, severity: str | None = None) -> list[Finding]:
    """A finding for each path."""
    return [Finding(path, text, None, severity, digest(subject.root, path)) for path in paths]


def has_key(subject: Subject, path: str) -> bool:
    """Whether a small file holds a private key, encrypted or not."""
    size = size_of(subject.root, path)
    return 0 < size <= _SMALL and _KEY.search(subject.root.read(path) or b"") is not None


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
    homes = subject.places.in_homes(*(f".globus/*{end}" for end in (".pem", ".p12", ".pfx")), ".oidc-agent/*")
    proxies = [
        f"{place}/{name}" for place in ("/tmp", "/var/tmp") for name in ("x509up_u*", "x509up_*", "*proxy*", "bt_u*")
    ]
    return found(subject, files(subject.root, *homes, *proxies), "A certificate, key or proxy of a person.")


def kerberos(subject: Subject) -> list[Finding]:
    """Keys and tickets of Kerberos and AFS."""
    homes = subject.places.in_homes(".k5login", ".k5users")
    return found(subject, files(subject.root, *_KERBEROS, *homes), "A key, ticket or permission of Kerberos.")


def credentials(subject: Subject) -> t.Iterator[Finding]:
    """Credentials that programs keep in a home, and services in their configuration."""
    homes = files(subject.root, *subject.places.in_homes(*_CREDENTIALS))
    yield from found(subject, homes, "Credentials of a program.")
    yield from found(subject, files(subject.root, *_OF_SERVICES), "Credentials of a service.")
    yield from _lines(subject, _PASSWORDS, "A password stands there.")


def any_private_key(subject: Subject) -> list[Finding]:
    """Private keys in the small files of every place where people put them."""
    tops = [f"/{name}" for name in subject.root.names("/") if name not in _NOT_OF_PEOPLE]
    tops += ["/usr/local", *subject.places.homes]
    skip = ("/var/lib/dpkg", "/var/lib/rpm", "/var/cache/apt", "/var/cache/dnf", "/var/cache/yum")
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
        ("/etc/NetworkManager/system-connections/*", "/usr/lib/NetworkManager/system-connections/*"),
        re.compile(
            r"(?:psk|password|.*-password|wep-key\d|secret|preshared-key|pin)\s*=\s*\S"
            # Of a certificate it is the name of a file.
            r"|private-key\s*=\s*(?!/|file:|data:)\S"
        ),
    ),
    (
        ("/etc/netplan/*.yaml", "/etc/netplan/*.yml"),
        re.compile(r".*\b(?:password|psk|(?<!-)key|private|shared)['\"]?\s*:\s*[^\s{#/]"),
    ),
    (
        ("/etc/network/interfaces", "/etc/network/interfaces.d/*"),
        re.compile(r"(?:wpa-(?:psk|password|passphrase|private-key-passwd)|wireless-key\d?|wpa-wep-key\d)\s+\S"),
    ),
    (("/etc/systemd/network/*.netdev",), re.compile(r"(?:PrivateKey|PresharedKey|Key)\s*=\s*\S", re.IGNORECASE)),
    (("/var/lib/iwd/*.psk", "/var/lib/iwd/*.8021x"), re.compile(r"(?:.*Passphrase|PreSharedKey|.*Password)\s*=\s*\S")),
    (("/etc/swanctl/swanctl.conf", "/etc/swanctl/conf.d/*.conf"), re.compile(r".*\bsecret\s*=\s*\S")),
    (("/var/lib/snmp/snmpd.conf", "/var/lib/net-snmp/snmpd.conf"), re.compile(r"(?:usmUser|createUser)\s")),
    (("/etc/wpa_supplicant/*", "/etc/wpa_supplicant.conf"), re.compile(r"(?:psk|password|wep_key\d)\s*=\s*\S")),
    (("/etc/sysconfig/network-scripts/keys-*",), re.compile(r"\w+=\S")),
    (("/etc/ipsec.secrets", "/etc/ipsec.d/*.secrets"), re.compile(r"(?!include\b).*\b(?:PSK|RSA|EAP|XAUTH|ECDSA)\b")),
    (("/etc/ppp/chap-secrets", "/etc/ppp/pap-secrets"), re.compile(r"\S+\s+\S+\s+\S")),
    (
        ("/etc/snmp/snmpd.conf", "/etc/snmp/snmpd.conf.d/*.conf"),
        re.compile(r"(?:rocommunity6?|rwcommunity6?|com2sec6?|createUser)\s", re.IGNORECASE),
    ),
    (("/etc/wireguard/*.conf",), re.compile(r"(?:PrivateKey|PresharedKey)\s*=", re.IGNORECASE)),
    (("/etc/openvpn/*", "/etc/openvpn/client/*", "/etc/openvpn/server/*"), re.compile(r"-----BEGIN .*KEY|<secret>")),
)


def network_secrets(subject: Subject) -> t.Iterator[Finding]:
    """Passwords and keys of networks."""
    yield from _lines(subject, _SECRETS, "A secret of a network.")


def _lines(
    subject: Subject, table: t.Iterable[tuple[tuple[str, ...], re.Pattern[str]]], text: str
) -> t.Iterator[Finding]:
    """The lines that begin with what is looked for in these files."""
    for patterns, secret in table:
        for path in files(subject.root, *patterns):
            for number, row in rows(subject.root, path):
                if secret.match(row):
                    yield Finding(path, text, number)


def remove_from_tmp(_subject: Subject, findings: t.Sequence[Finding]) -> t.Iterator[Repair]:
    """Proxies and tickets in the directories for temporary files go; the rest is left to its owner."""
    for finding in findings:
        if finding.path.startswith(("/tmp/", "/var/tmp/")):
            yield Repair(finding.path, None, "removed")
