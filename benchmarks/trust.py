# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What believing a message costs, on the grid's real anchors, beside `openssl cms -verify`: prints two tables.

Every round takes each measurement once, ours and openssl's one after the other, and a ratio is of one round; the tables
show medians. All times are CPU seconds of one core, so that what else the machine does matters less.
`make bench ONLY=trust` runs it; Debian's igtf-policy packages must be installed.
"""

from __future__ import annotations

import argparse
import datetime
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t
import uuid
import warnings

import cryptography
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from ansible_collections.hepix.vmimages.playbooks.files import demo_ca
from ansible_collections.hepix.vmimages.plugins.module_utils._core.imagelist import check, writer
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust import anchors, verify
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.credentials import keys
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.message import smime

from .measure import table, usage_of

PACKAGED: t.Final = pathlib.Path("/usr/share/igtf-policy")
SIZES: t.Final = (10, 100, 1000)
GOAL: t.Final = 0.2
#: how long one measurement of ours goes on, in CPU seconds, and how many processes of openssl stand beside it
SPAN: t.Final = 0.5
PROCESSES: t.Final = 10

#: A cold start, as a module call or the command pays it; says what came after the interpreter's own start.
COLD: t.Final = """
import datetime, pathlib, sys, time
begin = time.process_time()
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust import anchors, verify
loaded = anchors.load_directory(sys.argv[1])
middle = time.process_time()
verify.verify_message(pathlib.Path(sys.argv[2]).read_bytes(), loaded, datetime.datetime.now(datetime.timezone.utc))
print(middle - begin, time.process_time() - middle)
"""


def igtf(directory: pathlib.Path, now: datetime.datetime) -> int:
    """Put the packaged anchors into `directory`, with a CRL of 100 entries for each as fetch-crl would; how many CAs.

    The CRLs are no real ones: none of these CAs is asked, but their files must be looked through.
    """
    key = rsa.generate_private_key(65537, 2048)
    found = set()
    for file in sorted(PACKAGED.glob("*/*")):
        if file.suffix in (".0", ".pem", ".namespaces", ".signing_policy", ".info", ".crl_url"):
            target = directory / file.name
            if not target.is_symlink():
                target.symlink_to(file)
        if file.suffix == ".0":
            with warnings.catch_warnings(action="ignore"):  # a root with a serial number of zero
                subject = x509.load_pem_x509_certificate(file.read_bytes()).subject
            crl = x509.CertificateRevocationListBuilder().issuer_name(subject).last_update(now)
            crl = crl.next_update(now + datetime.timedelta(days=7))
            for serial in range(1, 101):
                entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
                crl = crl.add_revoked_certificate(entry.build())
            octets = crl.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
            demo_ca.write_file(directory / f"{file.stem}.r0", octets)
            found.add(file.resolve())
    if not found:
        raise SystemExit(f"There are no anchors in {PACKAGED}: install igtf-policy-classic, -mics and -iota.")
    return len(found)


def image_list(count: int, ca: demo_ca.DemoCA, now: datetime.datetime) -> dict[str, t.Any]:
    """A list of `count` images as endorsers publish them."""

    def stamp(days: int) -> str:
        return f"{now + datetime.timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"

    image = {
        "dc:title": "EGI Image for AlmaLinux 9 [AlmaLinux/9/KVM]",
        "dc:description": "A base image with the site's contextualisation, all updates and no password",
        "hv:hypervisor": "KVM",
        "hv:format": "qcow2",
        "hv:size": 1234567890,
        "hv:version": "2026.11.20-1",
        "sl:arch": "x86_64",
        "sl:checksum:sha512": "0123456789abcdef" * 8,
        "sl:comments": "",
        "sl:os": "Linux",
        "sl:osversion": "9.6",
    }
    named = ((str(uuid.UUID(int=number, version=4)), number) for number in range(count))
    return {
        "dc:identifier": str(uuid.UUID(int=1 << 100, version=4)),
        "dc:date:created": stamp(-1),
        "dc:date:expires": stamp(28),
        "dc:title": "benchmark",
        "dc:description": "a list to measure with",
        "dc:source": "benchmark",
        "hv:uri": "https://images.example.org/list",
        "hv:version": "7",
        "hv:endorser": {
            "hv:x509": {
                "dc:creator": "Erin",
                "hv:email": "e@example.org",
                "hv:dn": ca.endorser.dn,
                "hv:ca": ca.endorser.ca,
            }
        },
        "hv:images": [
            {"hv:image": {**image, "dc:identifier": name, "hv:uri": f"https://images.example.org/{number}.qcow2"}}
            for name, number in named
        ],
    }


def rate(action: t.Callable[[], object]) -> float:
    """How often `action` can be done in one CPU second."""
    begin, done = time.process_time(), 0
    while time.process_time() - begin < SPAN:
        action()
        done += 1
    return done / (time.process_time() - begin)


class Cold(t.NamedTuple):
    """CPU seconds of one process: all of it, loading the anchors, verifying one message."""

    whole: float
    load: float
    verify: float


class Bench:
    """The anchors, one message of each size, and how each side verifies it."""

    def __init__(self, directory: pathlib.Path, now: datetime.datetime) -> None:
        self.now = now
        ca = demo_ca.DemoCA(directory / "pki", now)
        ca.make()
        self.certificates = ca.certificates
        self.authorities = igtf(ca.certificates, now)
        self.loaded = anchors.load_directory(ca.certificates)
        self.pairs = [(ca.endorser.dn, ca.endorser.ca)]
        certificate = keys.load_certificate(ca.endorser.certificate_path)
        key = keys.load_signing_key(ca.endorser.key_path, None)
        self.files = {}
        for size in SIZES:
            content = writer.write_list(image_list(size, ca, now))
            self.files[size] = directory / f"{size}.eml"
            self.files[size].write_bytes(smime.sign_message(content, certificate=certificate, key=key))
        self.output = directory / "content"

    def cold(self) -> Cold:
        """A process that verifies one message, the smallest."""
        whole, output = usage_of([sys.executable, "-c", COLD, str(self.certificates), str(self.files[SIZES[0]])])
        load, once = output.split()
        return Cold(whole.cpu, float(load), float(once))

    def verify(self, octets: bytes) -> verify.Verified:
        return verify.verify_message(octets, self.loaded, self.now)

    def accept(self, octets: bytes) -> None:
        verified = self.verify(octets)
        check.check_list(
            verified.content,
            verified.certificate,
            self.now,
            identifier=None,
            endorsers=self.pairs,
            last_accepted=None,
        )

    def openssl(self, size: int) -> float:
        """CPU seconds of one `openssl cms -verify` with its hashed directory, the fastest way that it has."""
        command = ["openssl", "cms", "-verify", "-inform", "SMIME", "-in", str(self.files[size])]
        command += ["-out", str(self.output), "-CApath", str(self.certificates), "-no-CAfile", "-no-CAstore"]
        return usage_of([*command, "-crl_check_all", "-purpose", "smimesign"], quiet=True)[0].cpu


def median(values: t.Iterable[float]) -> float:
    return statistics.median(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="how many rounds, at least 5 (default: 5)")
    rounds = max(5, parser.parse_args().rounds)
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(pathlib.Path(name), now)
        octets = {size: file.read_bytes() for size, file in bench.files.items()}
        cold, process = [], []
        rates: dict[int, list[tuple[float, float, float]]] = {size: [] for size in SIZES}
        for message in octets.values():
            bench.accept(message)
        for _round in range(rounds):
            cold.append(bench.cold())
            process.append(median(bench.openssl(SIZES[0]) for _time in range(PROCESSES)))
            for size, message in octets.items():
                verified = rate(lambda message=message: bench.verify(message))  # type: ignore[misc]
                accepted = rate(lambda message=message: bench.accept(message))  # type: ignore[misc]
                theirs = PROCESSES / sum(bench.openssl(size) for _time in range(PROCESSES))
                rates[size].append((verified, accepted, theirs))
        version = subprocess.run(["openssl", "version"], check=True, capture_output=True, text=True).stdout
        print(f"{now:%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}, cryptography", end=" ")
        print(
            f"{cryptography.__version__}, {' '.join(version.split()[:2])}; {rounds} rounds, {bench.authorities} CAs\n"
        )
        once = median(one.load + one.verify for one in cold)
        rows = [
            ("load the anchors, from a cold start", f"{median(one.load for one in cold):.3f}"),
            ("verify the first message", f"{median(one.verify for one in cold):.3f}"),
            (f"both (goal: under {GOAL})", f"{once:.3f}"),
            ("the whole process, with Python's own start", f"{median(one.whole for one in cold):.3f}"),
            ("one process of openssl", f"{median(process):.3f}"),
        ]
        print(table(["cold", "CPU seconds"], rows), end="\n\n")
        head = [
            "images",
            "KiB",
            "verified/s",
            "and read as a list/s",
            "openssl/s",
            "verified : openssl",
            "read : openssl",
        ]
        shown = []
        for size, found in rates.items():
            numbers = [median(one[at] for one in found) for at in range(3)]
            ratios = [median(one[at] / one[2] for one in found) for at in range(2)]
            kib = f"{len(octets[size]) / 1024:.0f}"
            shown.append(
                [str(size), kib, *(f"{number:.0f}" for number in numbers), *(f"{ratio:.1f}" for ratio in ratios)]
            )
        print(table(head, shown))
    if once >= GOAL:
        raise SystemExit(f"The goal is missed: {once:.3f} s")


if __name__ == "__main__":
    main()
