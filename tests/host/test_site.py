# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook `site` on machines that have never seen it: what it foretells, makes, and leaves to run by itself."""

from __future__ import annotations

import contextlib
import json
import shutil
import typing as t
from pathlib import Path

import pytest

from .conftest import IMAGE, LIST, Site, changes
from .machines import Machine

pytestmark = pytest.mark.needs("root", "systemd-nspawn", "mmdebstrap", "squid", "nginx", "ip", "ssh")

OCTETS = b"a worker" * 4096
CA = "/etc/grid-security/certificates/web-ca.pem"
HOSTS = ("cache", "hypervisor", "node")
SERVICES = ("refresh", "sync", "scrub", "purge", "relay")


def names(host: Machine, directory: str) -> list[str]:
    """The cached files in one of the cache's directories."""
    return sorted(path.name for path in (state(host) / "cache" / directory).glob(f"{IMAGE}_*"))


def state(host: Machine) -> Path:
    """The state directory of a machine, from here; that of the hypervisor is a file system of its own."""
    inside = "srv/images" if host.name == "hypervisor" else "var/lib/hepix-vmimages"
    return Path(f"/proc/{host.leader}/root", inside)


def define(host: Machine, name: str, disk: str) -> None:
    """Define a domain of this name, with an overlay on this disk."""
    overlay = f"/var/lib/libvirt/images/{name}.qcow2"
    host.run("qemu-img", "create", "-q", "-f", "qcow2", "-b", disk, "-F", "raw", overlay)
    (host.root / f"root/{name}.xml").write_text(
        f"""<domain type='qemu'><name>{name}</name><memory unit='MiB'>16</memory><vcpu>1</vcpu>
        <os><type arch='x86_64' machine='pc'>hvm</type></os><devices>
          <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{overlay}'/>
            <target dev='vda' bus='virtio'/></disk>
          <controller type='usb' model='none'/><memballoon model='none'/></devices></domain>"""
    )
    host.run("virsh", "define", f"/root/{name}.xml")


@contextlib.contextmanager
def hurried(*hosts: Machine) -> t.Iterator[None]:
    """Let the refreshes come every few seconds, by a drop-in as an administrator has it; and the end of machines."""
    text = "[Timer]\nOnCalendar=\nOnCalendar=*:*:00/3\nRandomizedDelaySec=0\nAccuracySec=100ms\n"
    timers = [
        (host, timer)
        for host in hosts
        for timer in (host.root / "etc/systemd/system").glob("hepix-vmimages-*.timer")
        if timer.stem.endswith(("-refresh", "-expire"))
    ]
    places = [timer.with_name(f"{timer.name}.d") for _host, timer in timers]

    def again() -> None:
        for host, timer in timers:
            host.run("systemctl", "daemon-reload")
            host.run("systemctl", "restart", timer.name)

    for place in places:
        place.mkdir()
        (place / "hurried.conf").write_text(text)
    again()
    try:
        yield
    finally:
        for place in places:
            shutil.rmtree(place)
        again()


def curl(host: Machine, path: str, *options: str) -> tuple[int, dict[str, str], str]:
    """The cache's answer, as somebody on that machine gets it: status, headers, body."""
    address = f"https://cache.example.org{path}"
    told = host.run("curl", "-s", "-i", "-m", "20", "--cacert", CA, *options, address).stdout
    head, _blank, body = told.partition("\r\n\r\n") if "\r\n\r\n" in told else told.partition("\n\n")
    first, *rest = head.splitlines()
    headers = {key.lower(): value.strip() for key, value in (line.split(":", 1) for line in rest)}
    return int(first.split()[1]), headers, body


@pytest.fixture(scope="module")
def running(site: Site) -> Site:
    """The site after: check, run, run again."""
    site.publish(OCTETS)
    for name, options in (("check", ["--check"]), ("run", []), ("run again", [])):
        site.runs[name] = site.apply(*options)
        assert site.runs[name].returncode == 0, site.runs[name].stdout + site.runs[name].stderr
        if name == "check":
            never = ("opt/hepix-vmimages", "etc/hepix-vmimages/events.d", "usr/sbin/nginx")
            assert [path for path in never if (site.cache.root / path).exists()] == []
    return site


def test_check_mode_tells_the_whole_plan(running: Site) -> None:
    told = running.runs["check"].stdout
    assert changes(running.runs["check"])["cache"] > 20
    for text in (
        "python3-venv",
        "+Description=Refresh the lists of endorsed virtual machine images",
        "+LoadCredential=private_key:",
        "hepix-vmimages-purge.timer would be enabled and started",
        "server_name cache.example.org;",
        '"base_uri": "https://cache.example.org/images/"',
        "fetch-crl.timer.d",
        "/images.list",
        "+exec /opt/hepix-vmimages/bin/python3 -I -m vmimages.main gate",
        "hepix-vmimages-expire.timer would be enabled and started",
    ):
        assert text in told, text
    assert "[WARNING]" not in told + running.runs["check"].stderr
    assert "fatal:" not in told


def test_the_second_time_nothing_changes(running: Site) -> None:
    assert changes(running.runs["run"])["cache"] > 20
    assert changes(running.runs["run again"]) == dict.fromkeys(HOSTS, 0), running.runs["run again"].stdout


def test_systemd_accepts_the_units_and_finds_them_hardened(running: Site) -> None:
    units = [f"hepix-vmimages-{name}.service" for name in SERVICES]
    timers = [f"hepix-vmimages-{name}.timer" for name in SERVICES if name != "relay"]
    running.cache.run("systemd-analyze", "verify", "--man=no", *units, *timers)
    running.cache.run("systemd-analyze", "security", "--no-pager", "--threshold=25", *units)
    assert running.cache.says_anyway("systemctl", "is-enabled", *timers).split() == ["enabled"] * len(timers)


def test_the_image_travels_from_the_endorser_to_a_node_that_reaches_the_cache_by_the_squid_only(running: Site) -> None:
    node = running.node
    node.wait(lambda: names(node, "current") != [], "the image is at the node")
    (name,) = names(node, "current")
    assert (node.root / f"var/lib/hepix-vmimages/cache/current/{name}").read_bytes() == OCTETS
    path = node.says("/usr/local/bin/vmimages", "verdict", "worker")
    assert path == f"/var/lib/hepix-vmimages/cache/current/{name}"
    assert "CONNECT cache.example.org:443" in running.squid.read_text()
    direct = node.run("curl", "-s", "-m", "3", "-k", "https://198.51.100.2/", check=False)
    assert direct.returncode != 0


def test_libvirt_starts_what_may_run_and_nothing_else(running: Site) -> None:
    host = running.hypervisor
    host.wait(lambda: names(host, "current") != [], "the image is at the hypervisor")
    (name,) = names(host, "current")
    image = state(host) / "cache/current" / name
    owner = image.stat().st_uid
    define(host, "approved", f"/srv/images/cache/current/{name}")
    host.run("virsh", "start", "approved")
    assert host.says("virsh", "domstate", "approved") == "running"
    # libvirt has given the overlay to the guests' user, and not what it lies on.
    assert (host.root / "var/lib/libvirt/images/approved.qcow2").stat().st_uid not in (0, owner)
    assert image.stat().st_uid == owner
    (host.root / "var/lib/libvirt/images/foreign.img").write_bytes(OCTETS)
    define(host, "foreign", "/var/lib/libvirt/images/foreign.img")
    refused = host.run("virsh", "start", "foreign", check=False)
    assert refused.returncode != 0 and "foreign may not start: disk_foreign: " in refused.stderr
    told = host.says("journalctl", "--no-pager", "-o", "cat", "-t", "vmimages-gate")
    assert f" domain=approved uuid={host.says('virsh', 'domuuid', 'approved')} user=0 vda={IMAGE}\n" in f"{told}\n"
    assert "refused operation=prepare domain=foreign " in told and ": disk_foreign: " in told


def test_each_service_runs_within_its_limits(running: Site) -> None:
    for name in SERVICES:
        running.cache.run("systemctl", "start", f"hepix-vmimages-{name}.service")
    assert running.cache.says("systemctl", "list-units", "--failed", "--plain", "--no-legend") == ""


def test_only_the_service_that_signs_has_the_key(running: Site) -> None:
    key = "/etc/hepix-vmimages/relay/userkey.pem"
    denied = running.cache.run("runuser", "-u", "vmimages", "--", "cat", key, check=False)
    assert denied.returncode != 0 and "Permission denied" in denied.stderr
    shown = "cat /run/credentials/hepix-vmimages-relay.service/private_key"
    sandbox = running.cache.run(
        "systemd-run", "--wait", "--pipe", "-p", "User=vmimages", "sh", "-c", shown, check=False
    )
    assert sandbox.returncode != 0
    assert "Version 1 " in running.cache.journal("hepix-vmimages-relay.service")


def test_images_are_served_as_what_never_changes(running: Site) -> None:
    cache = running.cache
    (name,) = names(cache, "current")
    status, headers, body = curl(cache, f"/images/{name}")
    assert (status, body) == (200, OCTETS.decode())
    assert headers["cache-control"] == "public, max-age=31536000, immutable"
    assert headers["content-type"] == "application/octet-stream"
    assert curl(cache, f"/images/{name}", "-H", f"If-None-Match: {headers['etag']}")[0] == 304
    status, part, body = curl(cache, f"/images/{name}", "-H", "Range: bytes=8-15")
    assert (status, body, part["content-range"]) == (206, "a worker", f"bytes 8-15/{len(OCTETS)}")
    assert part["etag"] == headers["etag"]
    assert curl(cache, f"/images/{name}", "-X", "POST")[0] == 405


@pytest.mark.parametrize(
    "path", ["/images/", "/images/catalogue.json", "/lists/", "/", "/images/..%2f..%2fjournal.jsonl"]
)
def test_nothing_else_is_served(running: Site, path: str) -> None:
    assert curl(running.cache, path)[0] in (400, 404)


def test_a_link_in_the_cache_leads_nowhere(running: Site) -> None:
    name = "00000000-0000-4000-8000-000000000000_1_0000000000000000"
    link = running.cache.root / f"var/lib/hepix-vmimages/cache/current/{name}"
    link.symlink_to("/etc/passwd")
    try:
        assert curl(running.cache, f"/images/{name}")[0] in (403, 404)
    finally:
        link.unlink()


def test_the_list_and_the_status_page_are_asked_for_again(running: Site) -> None:
    status, headers, _body = curl(running.cache, "/lists/site.list")
    assert (status, headers["cache-control"]) == (200, "no-cache")
    status, headers, body = curl(running.cache, "/status")
    assert (status, headers["cache-control"]) == (200, "no-cache")
    assert headers["content-type"] == "text/html; charset=utf-8" and "Worker nodes" in body


def test_old_tls_is_refused(running: Site) -> None:
    def spoken(version: str) -> str:
        command = f"openssl s_client -connect cache.example.org:443 {version} -cipher ALL:@SECLEVEL=0 </dev/null 2>&1"
        return running.cache.run("sh", "-c", command, check=False).stdout

    assert "alert protocol version" in spoken("-tls1_1")
    assert "Cipher is ECDHE-RSA-AES" in spoken("-tls1_2")


def test_monitoring_is_told(running: Site) -> None:
    cache = running.cache
    told = cache.run("/usr/lib/nagios/plugins/check_vmimages", check=False)
    assert (told.returncode, told.stdout.startswith("VMIMAGES OK - ")) == (0, True), told.stdout
    told = cache.run("runuser", "-u", "nobody", "--", "/usr/local/bin/check_crls", check=False)
    assert (told.returncode, told.stdout.startswith("CRLS OK - ")) == (0, True), told.stdout + told.stderr
    metrics = (cache.root / "var/lib/hepix-vmimages/reports/vmimages.prom").read_text()
    assert f'image="{IMAGE}"' in metrics


def test_the_crls_are_fetched_and_go_on_being_fetched(running: Site) -> None:
    for host in (running.cache, running.node):
        # fetch-crl writes them under the names that OpenSSL looks for.
        served = {path.name for path in (running.directory / "crls").glob("????????.r0")}
        present = host.root / "etc/grid-security/certificates"
        assert len(served) > 0
        assert {path.name for path in present.glob("*.r0")} == served
        assert host.says("systemctl", "is-active", "fetch-crl.timer") == "active"
        assert host.says("systemctl", "show", "-P", "RandomizedDelayUSec", "fetch-crl.timer") == "30min"


def test_other_variables_are_followed_and_a_subscription_that_is_left_out_stays(running: Site) -> None:
    cache = running.cache
    said = running.inventory["all"]["children"]["image_caches"]["vars"]
    del said["image_cache_purge_expired"]
    said.update(image_cache_subscriptions=[], image_cache_decisions=[], image_cache_schedule="*:07")
    said.update(image_cache_web_listing=True)
    assert running.changed("--limit", "image_caches", hepix_vmimages_trust_anchors=False)["cache"] > 0
    assert cache.says_anyway("systemctl", "list-unit-files", "--no-legend", "hepix-vmimages-purge.*") == ""
    assert "OnCalendar=*-*-* *:07:00" in cache.says("systemctl", "show", "hepix-vmimages-refresh.timer")
    (name,) = names(cache, "current")
    status, headers, body = curl(cache, "/images/")
    assert (status, headers["content-type"]) == (200, "text/html") and name in body
    assert LIST in cache.says("/usr/local/bin/vmimages", "status")


def test_a_withdrawn_image_disappears_from_the_node_without_a_manual_step(running: Site) -> None:
    cache, node, hypervisor = running.cache, running.node, running.hypervisor
    assert hypervisor.says("virsh", "domstate", "approved") == "running"
    running.publish(None)
    with hurried(cache, node, hypervisor):
        cache.wait(lambda: names(cache, "current") == [], "the cache has put the image aside")
        node.wait(lambda: names(node, "current") == [], "the node has put the image aside")
        hypervisor.wait(
            lambda: hypervisor.says("virsh", "domstate", "approved") == "shut off", "the machine of the image is ended"
        )
    refused = hypervisor.run("virsh", "start", "approved", check=False)
    assert refused.returncode != 0 and "approved may not start: withdrawn: " in refused.stderr
    refused = node.run("/usr/local/bin/vmimages", "verdict", "--json", IMAGE, check=False)
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["verdict"]["code"] == "withdrawn"
    assert "Version 2 was published." in cache.journal("hepix-vmimages-relay.service")


def test_a_refresh_that_fails_is_told_and_the_next_one_mends_it(running: Site) -> None:
    cache = running.cache
    published = running.endorser.root / "images.list"
    kept = published.read_bytes()
    published.write_bytes(b"nothing that anybody signed")
    failed = ("systemctl", "is-failed", "hepix-vmimages-refresh.service")
    with hurried(cache):
        try:
            cache.wait(lambda: cache.says_anyway(*failed) == "failed", "the refresh fails")
        finally:
            published.write_bytes(kept)
        cache.wait(lambda: cache.says_anyway(*failed) == "inactive", "the refresh succeeds again")
    errors = cache.says("journalctl", "--no-pager", "-o", "cat", "-t", "vmimages", "-p", "err")
    assert f"vmimages: {running.endorser.uri}/images.list: mime_malformed: " in errors


def test_taken_away_it_leaves_the_record_and_nothing_that_runs(running: Site) -> None:
    gone = {"image_cache_state": "absent", "hypervisor_state": "absent"}
    # The anchors stay, for whoever else verifies by them; but not at the node.
    groups = running.inventory["all"]["children"]
    for name in ("image_caches", "hypervisors"):
        groups[name]["vars"]["hepix_vmimages_trust_anchors"] = False
    groups["image_nodes"]["vars"]["trust_anchors_state"] = "absent"
    assert min(running.changed(**gone).values()) > 0
    cache = running.cache
    for host in (cache, running.hypervisor):
        assert host.says_anyway("systemctl", "list-unit-files", "--no-legend", "hepix-vmimages-*") == ""
    assert list(cache.root.glob("opt/hepix-vmimages*")) == []
    assert not (cache.root / "etc/nginx/conf.d/hepix-vmimages.conf").exists()
    assert (cache.root / "var/lib/hepix-vmimages/journal.jsonl").stat().st_size > 0
    assert cache.run("curl", "-s", "-k", "https://cache.example.org/status", check=False).returncode != 0
    assert cache.says("systemctl", "is-active", "fetch-crl.timer") == "active"
    assert running.node.says_anyway("systemctl", "is-active", "fetch-crl.timer") == "inactive"
    assert list(running.node.root.glob("etc/grid-security/certificates")) == []
    # Nobody is asked any more.
    running.hypervisor.run("virsh", "start", "foreign")
    assert running.changed(**gone) == dict.fromkeys(HOSTS, 0)
