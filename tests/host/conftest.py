# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site on real machines: an endorser's web server, the site's cache, and a node that reaches it by a squid only."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import typing as t
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import pytest

from ansible_collections.hepix import vmimages
from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorser.publish import PublishSpec, publish

from ..integration.nginx import Nginx, serve
from .machines import Machine, Network, libvirt_layer, machine, network, network_apart, run

LIST = "5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3"
IMAGE = "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"
RELAY = "0f0a4b3c-0a3c-4d8e-9a53-51d5e0b6c1f4"
RECAP = re.compile(r"^(\w+) +: +ok=\d+ +changed=(\d+) +unreachable=0 +failed=0", re.M)

#: The beginnings of the addresses in the service network and in the nodes' network.
SERVICE, NODES = "198.51.100", "203.0.113"
NAMES = {"endorser.example.org": f"{SERVICE}.1", "cache.example.org": f"{SERVICE}.2"}


@dataclass
class Site:
    """Who takes part, the inventory of the site, and what came out of the playbooks so far."""

    directory: Path
    pki: t.Any
    endorser: Nginx
    cache: Machine
    node: Machine
    hypervisor: Machine
    squid: Path
    inventory: dict[str, t.Any]
    runs: dict[str, subprocess.CompletedProcess[str]] = field(default_factory=dict)

    def publish(self, octets: bytes | None) -> None:
        """The endorser's next list: with the image, or without any."""
        uri = self.endorser.uri
        image = {"identifier": IMAGE, "path": str(self.directory / "worker.img"), "title": "worker", "format": "raw"}
        if octets is not None:
            (self.directory / "worker.img").write_bytes(octets)
        options = {
            "identifier": LIST,
            "title": "Worker nodes",
            "uri": f"{uri}/images.list",
            "images": [{**image, "uri": f"{uri}/worker-{{version}}.img"}] if octets is not None else [],
            "certificate": str(self.pki.endorser.certificate_path),
            "private_key": str(self.pki.endorser.key_path),
            "history_dir": str(self.directory / "history"),
            "uploads": [{"uri_match": f"{re.escape(uri)}/", "uri_replace": f"{self.endorser.root}/"}],
            "anchors": str(self.pki.certificates),
        }
        publish(PublishSpec.from_options(options), check=False, now=datetime.now(timezone.utc))

    def apply(self, *options: str, **variables: t.Any) -> subprocess.CompletedProcess[str]:
        """Run the playbook of the whole site."""
        (self.directory / "ansible.cfg").touch()
        (self.directory / "inventory.json").write_text(json.dumps(self.inventory))
        collections = Path(next(iter(vmimages.__path__))).parent.parent.parent
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "hepix.vmimages.site"]
        return subprocess.run(
            [*command, "-i", str(self.directory / "inventory.json"), "--diff", *options, "-e", json.dumps(variables)],
            check=False,
            text=True,
            capture_output=True,
            timeout=900,
            stdin=subprocess.DEVNULL,
            env={
                **inherited,
                "ANSIBLE_COLLECTIONS_PATH": os.environ.get("ANSIBLE_COLLECTIONS_PATH", str(collections)),
                "ANSIBLE_CONFIG": str(self.directory / "ansible.cfg"),
                "ANSIBLE_HOME": str(self.directory / "ansible"),
                "ANSIBLE_NOCOLOR": "true",
                "ANSIBLE_PIPELINING": "true",
            },
        )

    def changed(self, *options: str, **variables: t.Any) -> dict[str, int]:
        """Apply the playbook, which must succeed; how much it changed on each host."""
        return changes(self.apply(*options, **variables))


def changes(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """How much a successful run changed on each host."""
    assert done.returncode == 0, done.stdout + done.stderr
    return {host: int(count) for host, count in RECAP.findall(done.stdout)}


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory that every user can look into."""
    directory = Path(tempfile.mkdtemp(prefix="vmimages-host-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def _squid(directory: Path, net: Network) -> Iterator[Path]:
    """A squid between the nodes' network and the cache, to which alone it leads; yields its access log."""
    directory.mkdir(mode=0o777)
    directory.chmod(0o777)
    with socket.socket() as probe:
        probe.bind((net.address(1), 0))
        port = probe.getsockname()[1]
    hosts = directory / "hosts"
    hosts.write_text("".join(f"{address} {name}\n" for name, address in NAMES.items()))
    (directory / "squid.conf").write_text(
        f"http_port {net.address(1)}:{port}\nhosts_file {hosts}\npid_filename {directory}/pid\n"
        f"access_log stdio:{directory}/access.log\ncache_log {directory}/cache.log\ncache deny all\n"
        f"acl nodes src {NODES}.0/24\nacl cache dstdomain cache.example.org\nacl https port 443\n"
        "http_access allow nodes cache https\nhttp_access deny all\nshutdown_lifetime 0 seconds\n"
        f"coredump_dir {directory}\n"
    )
    command = ["timeout", "3600", "squid", "--foreground", "-f", str(directory / "squid.conf")]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _attempt in range(200):
            with contextlib.suppress(OSError):
                socket.create_connection((net.address(1), port), timeout=1).close()
                break
            time.sleep(0.1)
        else:
            raise RuntimeError((directory / "cache.log").read_text())
        (directory / "address").write_text(f"http://{net.address(1)}:{port}")
        yield directory / "access.log"
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def _crl_server(anchors: Path, crls: Path) -> Iterator[None]:
    """Serves the CRLs of these trust anchors, which go there and say so."""
    crls.mkdir()
    with socket.socket() as probe:
        probe.bind(("", 0))
        port = probe.getsockname()[1]
    for path in anchors.glob("*.r0"):
        path.rename(crls / path.name)
        (anchors / f"{path.stem}.crl_url").write_text(f"http://crl.example.org:{port}/{path.name}\n")
    command = ["timeout", "3600", sys.executable, "-m", "http.server", "--directory", str(crls), str(port)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def site(place: Path, demo_ca: t.Any, now: t.Any, wheelhouse: Path) -> Iterator[Site]:
    """Three machines that have never seen a role, and all that there is around them."""
    pki = demo_ca.DemoCA(place / "pki", now)
    pki.make()
    tls = {name: _host_certificate(pki, name) for name in NAMES}
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / "key")
    # It is made of packages that are fetched: from the next line on there is no way to the world.
    layer = libvirt_layer()
    with contextlib.ExitStack() as stack:
        stack.enter_context(network_apart())
        service = stack.enter_context(network("vmimages-svc", SERVICE))
        nodes = stack.enter_context(network("vmimages-node", NODES))
        served = serve(place, tls["endorser.example.org"], address=service.address(1), name="endorser.example.org")
        endorser = stack.enter_context(served)
        squid = stack.enter_context(_squid(place / "squid", nodes))
        shutil.copytree(pki.certificates, place / "anchors", symlinks=True)
        stack.enter_context(_crl_server(place / "anchors", place / "crls"))
        known = {**NAMES, "crl.example.org": service.address(1)}
        cache = stack.enter_context(machine("cache", service, 2, place, known))
        # It does not know the names either: its way is the squid.
        known = {"crl.example.org": nodes.address(1)}
        node = stack.enter_context(machine("node", nodes, 2, place, known))
        hypervisor = stack.enter_context(machine("hypervisor", nodes, 3, place, known, layer))
        for each in (cache, node, hypervisor):
            shutil.copytree(wheelhouse, each.root / "srv/wheels")
        _prepare_hypervisor(hypervisor)
        inventory = _inventory(place, pki, endorser, (squid.parent / "address").read_text())
        _bring_credentials(pki, cache, tls["cache.example.org"])
        yield Site(place, pki, endorser, cache, node, hypervisor, squid, inventory)


def _prepare_hypervisor(host: Machine) -> None:
    """What an administrator has made of it: a file system for the images, and a user who may become root."""
    # The control groups of the machine below may not be its own to write.
    host.run("sh", "-c", "echo 'cgroup_controllers = []' >>/etc/libvirt/qemu.conf")
    host.run("sh", "-c", "mkdir /srv/images && mount -t tmpfs -o mode=0755 images /srv/images")
    host.run("useradd", "--create-home", "admin")
    host.run("sh", "-c", "mkdir ~admin/.ssh && cp /root/.ssh/authorized_keys ~admin/.ssh && chown -R admin ~admin/.ssh")
    host.run("sh", "-c", "echo 'admin ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/admin")


def _host_certificate(pki: t.Any, name: str) -> Path:
    """A server's certificate with its chain, as nginx wants it; returns the directory of server.pem and server.key."""
    issued = pki.issue(name, host=True, directory=f"host-{name}")
    directory = t.cast("Path", issued.certificate_path.parent)
    from cryptography.hazmat.primitives.serialization import Encoding

    chain = pki.sub.certificate.public_bytes(Encoding.PEM)
    (directory / "server.pem").write_bytes(issued.certificate_path.read_bytes() + chain)
    shutil.copy(issued.key_path, directory / "server.key")
    (directory / "ca.pem").write_bytes(pki.root.certificate.public_bytes(Encoding.PEM))
    return directory


def _bring_credentials(pki: t.Any, cache: Machine, tls: Path) -> None:
    """What the administrator brings by hand: the server's certificate, and the robot that signs the site's list."""
    robot = pki.issue("Image relay of the example site", directory="robot")
    for directory in ("etc/grid-security", "etc/hepix-vmimages/relay"):
        (cache.root / directory).mkdir(parents=True, exist_ok=True)
    shutil.copy(tls / "server.pem", cache.root / "etc/grid-security/hostcert.pem")
    shutil.copy(tls / "server.key", cache.root / "etc/grid-security/hostkey.pem")
    shutil.copy(robot.certificate_path, cache.root / "etc/hepix-vmimages/relay/usercert.pem")
    relay = cache.root / "etc/hepix-vmimages/relay"
    run(
        "openssl", "pkcs8", "-topk8", "-in", robot.key_path, "-passout", "pass:a robot's", "-out", relay / "userkey.pem"
    )
    (relay / "passphrase").write_text("a robot's\n")
    for secret in ("userkey.pem", "passphrase"):
        (relay / secret).chmod(0o400)


def _inventory(place: Path, pki: t.Any, endorser: Nginx, proxy: str) -> dict[str, t.Any]:
    """The inventory of the guide, with this site's names."""
    shutil.copy(next(pki.directory.glob("host-*/ca.pem")), place / "ca.pem")
    anchors = place / "anchors"
    shutil.copy(place / "ca.pem", anchors / "web-ca.pem")
    ca_path = "/etc/grid-security/certificates/web-ca.pem"
    sub = pki.endorser
    robot_dn = sub.dn.replace("CN=Erin Endorser", "CN=Image relay of the example site")
    common = {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(place / "key"),
        "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ControlMaster=auto"
        f" -o ControlPersist=60 -o ControlPath={place}/%C",
        "ansible_python_interpreter": "/usr/bin/python3",
        "trust_anchors_source": "directory",
        "trust_anchors_directory": str(anchors),
        "image_cache_wheelhouse": "/srv/wheels",
        "image_cache_site": "example.org",
    }
    subscription = {
        "uri": f"{endorser.uri}/images.list",
        "identifier": LIST,
        "endorsers": [{"dn": sub.dn, "ca": sub.ca}],
        "ca_path": ca_path,
        "allow_private": True,
    }
    relayed = {
        "uri": "https://cache.example.org/lists/site.list",
        "identifier": RELAY,
        "endorsers": [{"dn": robot_dn, "ca": sub.ca}],
        "ca_path": ca_path,
        "allow_private": True,
    }
    caches = {
        "image_cache_web": True,
        "image_cache_web_name": "cache.example.org",
        "image_cache_report_html": "/var/lib/hepix-vmimages/reports/index.html",
        "image_cache_report_prometheus": "/var/lib/hepix-vmimages/reports/vmimages.prom",
        "image_cache_nagios_plugin": "/usr/lib/nagios/plugins/check_vmimages",
        "image_cache_purge_expired": "14d",
        "image_cache_max_unrefreshed": "3d",
        "image_cache_relay": {
            "identifier": RELAY,
            "title": "Images of the example site",
            "certificate": "/etc/hepix-vmimages/relay/usercert.pem",
            "private_key": "/etc/hepix-vmimages/relay/userkey.pem",
            "passphrase_file": "/etc/hepix-vmimages/relay/passphrase",
        },
        "image_cache_subscriptions": [subscription],
        "image_cache_decisions": [{"decision": "approve", "tags": ["worker"], "reason": "Tested."}],
    }
    return {
        "all": {
            "vars": common,
            "children": {
                "image_caches": {"hosts": {"cache": {"ansible_host": f"{SERVICE}.2"}}, "vars": caches},
                "hypervisors": {
                    "hosts": {"hypervisor": {"ansible_host": f"{NODES}.3", "ansible_user": "admin"}},
                    "vars": {
                        "hypervisor_relay": relayed,
                        "hypervisor_proxy": proxy,
                        "hypervisor_grace": "2s",
                        "hypervisor_state_dir": "/srv/images",
                    },
                },
                "image_nodes": {
                    "hosts": {"node": {"ansible_host": f"{NODES}.2"}},
                    "vars": {"image_cache_subscriptions": [{**relayed, "new_images": "cache", "proxy": proxy}]},
                },
            },
        }
    }
