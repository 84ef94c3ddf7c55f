# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table: one row, one check. The same row finds and, where that is safe, repairs."""

from __future__ import annotations

import typing as t

from .checks import accounts, claims, credentials, settings, software, space, ssh, sudo, traces
from .model import ERROR, NOTE, WARNING, Check, removing

TABLE: t.Final[tuple[Check, ...]] = (
    Check("P01", "2.d", ERROR, "No account has a password", accounts.passwords, accounts.lock),
    Check("P02", "2.d", ERROR, "root has no password", accounts.root_password, accounts.lock),
    Check("P03", "2.d", ERROR, "There are no accounts of people", accounts.people),
    Check("P04", "2.d", ERROR, "Every account is one of its own", accounts.duplicates),
    Check("P05", "2.d", ERROR, "No password lies elsewhere", accounts.remains, accounts.remove_copies),
    Check("P06", "2.d", ERROR, "No ssh key lets anybody in", ssh.authorized_keys, removing),
    Check("P07", "2.d", ERROR, "There are no ssh host keys", ssh.host_keys, removing),
    Check("P08", "practice", WARNING, "ssh host keys are made at the first start", ssh.host_keys_are_made),
    Check("P09", "2.d", ERROR, "There are no ssh keys of people", ssh.client_keys),
    Check("P10", "2.d", ERROR, "There are no host certificates of the grid", credentials.grid_certificates),
    Check("P11", "2.d", ERROR, "There are no TLS keys", credentials.tls_keys),
    Check(
        "P12",
        "2.d",
        ERROR,
        "There are no certificates and proxies of people",
        credentials.user_certificates,
        credentials.remove_from_tmp,
    ),
    Check("P13", "2.d", ERROR, "There is nothing of Kerberos", credentials.kerberos, credentials.remove_from_tmp),
    Check("P14", "2.d", ERROR, "There are no credentials of programs", credentials.credentials),
    Check("P15", "2.c", ERROR, "There is no private key in any small file", credentials.any_private_key),
    Check("P16", "2.c", ERROR, "There is no history of shells and tools", traces.history, removing),
    Check("P17", "2.d", ERROR, "The system is enrolled nowhere", credentials.enrolment),
    Check("P18", "2.c", WARNING, "The system is no one machine", traces.identity, traces.neutralise),
    Check("P19", "2.c", ERROR, "There are no secrets of networks", credentials.network_secrets),
    Check("P20", "2.c", ERROR, "Nothing is left of an instance", traces.instance),
    Check("P21", "2.d", ERROR, "Nothing is left of the installer", traces.installer, removing),
    Check("P22", "2.c", WARNING, "There are no logs, mails, jobs and caches", traces.logs),
    Check("P23", "2.c", WARNING, "There are no copies of edited files", traces.backups),
    Check("P24", "2.c", WARNING, "Nothing secret is in free space and swap", space.residue),
    Check("P25", "practice", WARNING, "Every file system was unmounted", settings.journals),
    Check("P26", "2.d", WARNING, "sshd takes no passwords", ssh.sshd),
    Check("P27", "practice", WARNING, "sudo gives root to nobody", sudo.sudo),
    Check("P28", "2.e", ERROR, "The system can log", settings.logging),
    Check("P29", "2.f", ERROR, "The site can change the system", settings.changeable),
    Check("P30", "2.f", WARNING, "The site can ban somebody", settings.banning),
    Check("P31", "2.e", WARNING, "The clock is kept right", settings.clock),
    Check("P32", "2.e", NOTE, "What processes do is recorded", settings.accounting),
    Check("P33", "2.b", ERROR, "No package has a flaw that is known", software.patched),
    Check("P34", "5", ERROR, "The packages can be listed", software.package_database),
    Check("P35", "5", ERROR, "The manifest lists what is installed", software.manifest),
    Check("P36", "2.a", WARNING, "The packages are signed", software.signatures),
    Check("P38", "1", WARNING, "Files are as their packages brought them", software.modified),
    Check("P39", "8", WARNING, "No program or file gives rights away", traces.writable),
    Check("P40", "8", WARNING, "No service trusts what it cannot check", settings.remote_shells),
    Check("P41", "practice", WARNING, "Services without use are off", settings.services),
    Check("P42", "practice", WARNING, "The disk suits every hypervisor", settings.layout),
    Check("P43", "practice", ERROR, "The image boots as is said of it", claims.boot_modes),
    Check("P44", "7", NOTE, "The licences can be listed", software.licences),
    Check("P45", "1", ERROR, "The endorser's own scanner finds nothing", claims.scanner),
    Check("P46", "2.c", WARNING, "The endorser's own patterns find nothing", claims.patterns),
    Check("P47", "1", WARNING, "All of the disk is the system's", space.partitions),
    Check("P49", "5", NOTE, "The image says which image it is", claims.identity),
    Check("P51", "2.b", WARNING, "The newest kernel starts", software.newest_kernel),
    Check("P52", "2.f", WARNING, "The site can give its context", settings.context),
)
