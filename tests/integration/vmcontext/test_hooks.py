# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hooks for the site's services (X14): file server, firewall, CernVM-FS, AFS."""

from __future__ import annotations

import subprocess

import pytest

from .guest import CONTEXT, Guest

pytestmark = pytest.mark.needs("root", "unshare", "losetup", "mke2fs", "chroot", "dash", "bash", "busybox")


class TestNfs:
    CONTEXT = "NFS_SERVER_IP='192.0.2.1'\nNFS_MOUNTS='/export/home:/home/grid /sw:/opt/sw'\n"

    def test_what_is_named_is_mounted_when_the_network_is_there(self, vm: Guest) -> None:
        vm.write(
            "usr/local/sbin/mount", '#!/bin/sh\n[ $# -ne 1 ] && exec /usr/bin/mount "$@"\necho "$1" >>/mounted\n', 0o755
        )
        vm.write("etc/hosts", "127.0.0.1 localhost\n")
        vm.write("etc/fstab", "LABEL=/ / ext3 defaults 0 1\n")
        vm.attach("vdb", {"context.sh": self.CONTEXT})
        assert vm.boot("prologue-start").status == {"prologue-start": 0}
        assert not vm.has("mounted")
        assert vm.boot("epilogue-start", same_boot=True).status == {"epilogue-start": 0}
        assert vm.read("mounted") == "/home/grid\n/opt/sw\n"
        again = CONTEXT + self.CONTEXT.replace("192.0.2.1", "2001:db8::1")
        vm.detach()
        vm.attach("vdb", {"context.sh": again})
        assert vm.boot().status == {"prologue-start": 0, "epilogue-start": 0}
        assert vm.read("etc/hosts").splitlines() == [
            *("127.0.0.1 localhost", "# vmcontext: nfs begin", "2001:db8::1 nfs-server", "# vmcontext: nfs end"),
        ]
        assert vm.read("etc/fstab").splitlines() == [
            *("LABEL=/ / ext3 defaults 0 1", "# vmcontext: nfs begin"),
            "[2001:db8::1]:/export/home /home/grid nfs defaults,nosuid,nodev,_netdev 0 0",
            "[2001:db8::1]:/sw /opt/sw nfs defaults,nosuid,nodev,_netdev 0 0",
            "# vmcontext: nfs end",
        ]

    @pytest.mark.parametrize(
        "mounts",
        [
            *("/x:/usr/bin", "/x:/etc", "/x:/opt/../usr", "x", "/x:/var/lib/hepix", "/x:/home a b", "/x:/opt"),
            *("/x:/usr/local/bin", "/x:/usr/local/lib/python3", "/x:/var/lib/dpkg", "/x:/opt/./protected"),
        ],
    )
    def test_other_places_are_refused(self, vm: Guest, mounts: str) -> None:
        vm.write("etc/fstab", "")
        vm.write("usr/lib/vmcontext/protected.list", "0123  /opt/protected/gcc\n")
        vm.attach("vdb", {"context.sh": f"NFS_SERVER_IP='192.0.2.1'\nNFS_MOUNTS='{mounts}'\n"})
        done = vm.boot("prologue-start")
        assert done.status == {"prologue-start": 1} and "was refused" in done.console
        assert vm.read("etc/fstab") == ""

    def test_a_link_leads_no_mount_elsewhere(self, vm: Guest) -> None:
        text = '#!/bin/sh\n[ $# -ne 1 ] && exec /usr/bin/mount "$@"\necho "$1" >>/mounted\n'
        vm.write("usr/local/sbin/mount", text, 0o755)
        (vm.work / "upper/home").mkdir(exist_ok=True)
        (vm.work / "upper/home/grid").symlink_to("/usr/local/bin")
        vm.attach("vdb", {"context.sh": self.CONTEXT})
        done = vm.boot()
        assert done.status == {"prologue-start": 0, "epilogue-start": 1}
        assert "/export/home:/home/grid leads to /usr/local/bin, and was refused." in done.console
        assert vm.read("mounted") == "/opt/sw\n"


RULES = "#!/bin/sh\n# vmcontext: always epilogue\nnft list table inet vmcontext >/rules\n"


@pytest.mark.needs("nft")
class TestFirewall:
    def test_only_the_named_ports_are_open(self, vm: Guest) -> None:
        """The kernel's own rules, in the guest's network; a connection to them is refused or not."""
        vm.write("etc/vmcontext.d/60-rules.sh", RULES)
        vm.attach("vdb", {"context.sh": f"{CONTEXT}TCP_IN_PORTS='22, 8000-8002'\n"})
        for _start in range(2):
            assert vm.boot().status == {"prologue-start": 0, "epilogue-start": 0}
            rules = vm.read("rules")
            assert rules.count("accept\n") == 3 and rules.count("reject") == 1, rules
            assert "tcp dport 22 accept" in rules and "tcp dport 8000-8002 accept" in rules
            (vm.work / "upper/rules").unlink()

    def test_none_is_none(self, vm: Guest) -> None:
        vm.write("etc/vmcontext.d/60-rules.sh", RULES)
        vm.attach("vdb", {"context.sh": f"{CONTEXT}TCP_IN_PORTS='none'\n"})
        vm.boot()
        assert "dport" not in vm.read("rules") and "reject with tcp reset" in vm.read("rules")

    @pytest.mark.parametrize("ports", ["ssh", "0", "70000", "9-8", "1-2-3", "22;reboot", "-1"])
    def test_what_is_no_port_is_refused(self, vm: Guest, ports: str) -> None:
        vm.attach("vdb", {"context.sh": f"TCP_IN_PORTS='{ports}'\n"})
        done = vm.boot("prologue-start")
        assert done.status == {"prologue-start": 1} and "is no port" in done.console


def test_an_old_image_has_iptables_alone(vm: Guest) -> None:
    """A stand-in, since two kinds of rules at once would be none of an image's: what EL5's would be told."""
    vm.without("usr/sbin/nft")
    vm.write("usr/local/sbin/iptables", '#!/bin/sh\necho "$*" >>/called\n', 0o755)
    vm.attach("vdb", {"context.sh": "TCP_IN_PORTS='22 80:81'\n"})
    assert vm.boot("prologue-start").status == {"prologue-start": 0}
    assert vm.read("called").splitlines()[:6] == [
        *("-N VMCONTEXT", "-F VMCONTEXT", "-A VMCONTEXT -i lo -j RETURN"),
        "-A VMCONTEXT -p tcp --dport 22 -j RETURN",
        "-A VMCONTEXT -p tcp --dport 80:81 -j RETURN",
        "-A VMCONTEXT -p tcp --syn -j REJECT --reject-with tcp-reset",
    ]
    assert vm.read("called").splitlines()[6:] == ["-D INPUT -j VMCONTEXT", "-I INPUT -j VMCONTEXT"]


class TestCvmfs:
    PROXY = "http://squid1.example.org:3128|http://squid2.example.org:3128;DIRECT"

    def test_the_sites_proxies_are_written(self, vm: Guest) -> None:
        vm.write("etc/cvmfs/default.local", "CVMFS_HTTP_PROXY=DIRECT\nCVMFS_CACHE_BASE=/scratch\n")
        vm.attach(
            "vdb", {"context.sh": f"CVMFS_HTTP_PROXY='{self.PROXY}'\nCVMFS_REPOSITORIES='atlas.cern.ch,lhcb.cern.ch'\n"}
        )
        assert vm.boot("prologue-start").status == {"prologue-start": 0}
        text = vm.read("etc/cvmfs/default.local")
        shown = subprocess.run(
            ["sh", "-c", f'{text}\necho "$CVMFS_HTTP_PROXY $CVMFS_REPOSITORIES $CVMFS_CACHE_BASE"'],
            check=True,
            capture_output=True,
            text=True,
            timeout=10,
        )
        assert shown.stdout == f"{self.PROXY} atlas.cern.ch,lhcb.cern.ch /scratch\n"
        assert text.count("CVMFS_HTTP_PROXY=") == 1

    @pytest.mark.parametrize("there", [True, False])
    def test_what_cannot_be_is_told(self, vm: Guest, there: bool) -> None:
        if there:
            vm.write("etc/cvmfs/default.local", "")
        value = "x'; touch /executed'" if there else "DIRECT"
        vm.attach("vdb", {"context.sh": 'CVMFS_HTTP_PROXY="' + value + '"\n'})
        done = vm.boot("prologue-start")
        why = "characters that it must not have" if there else "no CernVM-FS to configure"
        assert done.status == {"prologue-start": 1} and why in done.console
        assert not vm.has("executed") and (not there or vm.read("etc/cvmfs/default.local") == "")


class TestAfs:
    @pytest.mark.parametrize(("afs", "told"), [("off", "chkconfig afs off"), ("on", "chkconfig afs on")])
    def test_sysvinit_switches_it(self, vm: Guest, afs: str, told: str) -> None:
        vm.write("usr/local/sbin/chkconfig", '#!/bin/sh\necho "chkconfig $*" >>/called\n', 0o755)
        vm.write("etc/init.d/afs", '#!/bin/sh\necho "afs $1" >>/called\n', 0o755)
        vm.attach("vdb", {"context.sh": f"{CONTEXT}AFS='{afs}'\n"})
        assert vm.boot().status == {"prologue-start": 0, "epilogue-start": 0}
        assert vm.read("called").splitlines() == [told, f"afs {'stop' if afs == 'off' else 'start'}"]

    def test_without_chkconfig_the_links_are_changed(self, vm: Guest) -> None:
        """And no others, which the start that is under way is about to follow."""
        for level in "2345":
            (vm.work / f"upper/etc/rc{level}.d").mkdir(exist_ok=True)
            (vm.work / f"upper/etc/rc{level}.d/S25openafs-client").symlink_to("../init.d/openafs-client")
        vm.write("etc/init.d/openafs-client", '#!/bin/sh\necho "afs $1" >>/called\n', 0o755)
        for afs, link in (("off", "K01"), ("on", "S60"), ("on", "S60")):
            vm.attach("vdb", {"context.sh": f"HEPIX_INSTANCE_ID='{afs}'\nAFS='{afs}'\n"})
            assert vm.boot().status == {"prologue-start": 0, "epilogue-start": 0}
            links = {path.name for path in (vm.work / "upper").glob("etc/rc?.d/*openafs*") if path.is_symlink()}
            assert links == {f"{link}openafs-client"}
            vm.detach()
        assert vm.read("called") == "afs stop\nafs start\nafs start\n"

    @pytest.mark.parametrize("afs", ["on", "off"])
    def test_systemd_is_told_in_the_prologue(self, vm: Guest, afs: str) -> None:
        vm.write("usr/lib/systemd/system/openafs-client.service", "[Service]\n")
        (vm.work / "upper/run/systemd/system").mkdir(parents=True)
        vm.attach("vdb", {"context.sh": f"{CONTEXT}AFS='{afs}'\n"})
        vm.boot("prologue-start")
        off = ["systemctl mask --runtime openafs-client.service", "systemctl --no-block stop openafs-client.service"]
        assert vm.read("called").splitlines() == (
            off if afs == "off" else ["systemctl --no-block start openafs-client.service"]
        )

    @pytest.mark.parametrize(("afs", "status"), [("off", 0), ("on", 1), ("perhaps", 1)])
    def test_without_a_client_it_can_only_be_off(self, vm: Guest, afs: str, status: int) -> None:
        vm.attach("vdb", {"context.sh": f"AFS='{afs}'\n"})
        assert vm.boot("prologue-start").status == {"prologue-start": status}
