# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What fetching and believing an image costs, beside curl, sha512sum, aria2c and ansible.builtin.get_url.

One image from an nginx of this machine: over http, over https, and over http at 400 MB/s. Every file is a new one, and
durable in the end. `python -m benchmarks.transfers` wants nginx, openssl, curl, aria2c and strace.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import functools
import hashlib
import json
import os
import pathlib
import re
import sys
import tempfile
import typing as t
import uuid
from datetime import datetime, timedelta, timezone

from ansible_collections.hepix.vmimages.playbooks.files import demo_ca
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.cache.sync import sync
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.lists.subscribe import subscribe
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.catalogue import Catalogue
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.subscription import Subscription
from ansible_collections.hepix.vmimages.plugins.module_utils._core.times import to_text
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.fetch import fetch_file
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.policy import Policy
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.message.smime import sign_message

from . import measure, servers

MIB: t.Final = 1024 * 1024
#: The origin that is no faster: in octets a second.
LIMIT: t.Final = 400_000_000
UNCHANGED: t.Final = 1000
PARTS: t.Final = ("http", "https", "limited", "modules", "several", "counted", "unchanged")

#: The same files over https, and with a limit.
_MORE: t.Final = """
server {{ listen 127.0.0.1:{limited}; limit_rate {limit}; }}
server {{
    listen 127.0.0.1:{https} ssl;
    ssl_certificate {tls}/server.pem;
    ssl_certificate_key {tls}/server.key;
}}
"""

#: One fetch in a process of its own; tells what of memory it took.
ALONE: t.Final = """
import sys
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.fetch import fetch_file
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.policy import Policy
uri, folder, size, sha512 = sys.argv[1:]
fetch_file(uri, folder, "alone", size=int(size), sha512=sha512, policy=Policy(allow_private=True))
# (what getrusage tells begins with the process that this one was forked from)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")))
"""

#: One run of the cache in a process of its own.
AGAIN: t.Final = """
import sys
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.cache.sync import sync
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.catalogue import Catalogue
with Catalogue.open(sys.argv[1]) as catalogue:
    sync(catalogue)
"""


class Image(t.NamedTuple):
    """A file of the web server."""

    name: str
    size: int
    sha512: str

    @classmethod
    def make(cls, root: pathlib.Path, name: str, size: int) -> Image:
        """Random octets: nothing of them can be left out."""
        digest = hashlib.sha512()
        with (root / name).open("wb") as stream:
            for _piece in range(size // MIB):
                octets = os.urandom(MIB)
                digest.update(octets)
                stream.write(octets)
        return cls(name, size // MIB * MIB, digest.hexdigest())


class Origin(t.NamedTuple):
    """How the web server is reached."""

    http: str
    https: str
    limited: str
    ca_path: str


@contextlib.contextmanager
def origin(folder: pathlib.Path, root: pathlib.Path, tls: pathlib.Path) -> t.Iterator[Origin]:
    """nginx, serving `root`."""
    https, limited = servers.ports(2)
    more = _MORE.format(https=https, limited=limited, limit=LIMIT, tls=tls)
    with servers.nginx(root, folder / "nginx", more=more) as http:
        yield Origin(http, f"https://localhost:{https}", f"http://127.0.0.1:{limited}", str(tls / "ca.pem"))


class Bench:
    """Contenders for one image; every turn makes a new file, and removes it again."""

    def __init__(self, folder: pathlib.Path, image: Image, found: Origin) -> None:
        self._folder = folder
        self._image = image
        self._origin = found
        self._policy = Policy(allow_private=True, ca_path=found.ca_path)

    def contenders(self, base: str) -> dict[str, t.Callable[[], measure.Usage]]:
        """By name, for the origin at `base`."""
        uri = f"{base}/{self._image.name}"
        curl = f"curl --silent --fail --cacert {self._origin.ca_path} {uri}"
        aria2c = (
            f"aria2c --quiet --no-conf --ca-certificate={self._origin.ca_path} --checksum=sha-512={self._image.sha512} "
            f"--file-allocation=falloc --dir={self._folder} --out=file {uri}"
        )
        return {
            "sha512sum (in the page cache)": self._shell(f"sha512sum {self._folder}/web/{self._image.name}"),
            "curl to /dev/null": self._shell(f"{curl} --output /dev/null"),
            "curl -o": self._shell(f"{curl} --output {self._file}"),
            "curl && sha512sum && sync": self._shell(
                f"{curl} --output {self._file} && sha512sum {self._file} && sync {self._file}"
            ),
            "aria2c --checksum": self._shell(aria2c),
            "ours": lambda: self._fresh(lambda: measure.usage_here(lambda: self.fetch(uri))),
        }

    def fetch(self, uri: str, name: str = "file") -> None:
        """Our fetch, in this process."""
        image = self._image
        fetch_file(uri, self._folder, name, size=image.size, sha512=image.sha512, policy=self._policy)

    @property
    def _file(self) -> pathlib.Path:
        return self._folder / "file"

    def _shell(self, command: str) -> t.Callable[[], measure.Usage]:
        return lambda: self._fresh(lambda: measure.usage_of(["sh", "-c", command])[0])

    def _fresh(self, action: t.Callable[[], measure.Usage]) -> measure.Usage:
        self._file.unlink(missing_ok=True)
        usage = action()
        self._file.unlink(missing_ok=True)
        return usage

    def together(self, base: str, count: int) -> dict[str, t.Callable[[], measure.Usage]]:
        """`count` images one after the other, and at once."""
        uri = f"{base}/{self._image.name}"
        names = [f"part-{number}" for number in range(count)]

        def clean(action: t.Callable[[], object]) -> measure.Usage:
            usage = measure.usage_here(action)
            for name in names:
                (self._folder / name).unlink()
            return usage

        def in_turn() -> None:
            for name in names:
                self.fetch(uri, name)

        def all_at_once() -> None:
            with concurrent.futures.ThreadPoolExecutor(count) as pool:
                list(pool.map(functools.partial(self.fetch, uri), names))

        return {
            "one after the other": lambda: clean(in_turn),
            "at once": lambda: clean(all_at_once),
        }

    def alone(self, base: str) -> tuple[int, int, int]:
        """A process of its own: octets of memory at most, read from sockets, and read again from the file."""
        image = self._image
        command = [sys.executable, "-c", ALONE, f"{base}/{image.name}", str(self._folder)]
        command += [str(image.size), image.sha512]
        memory = int(measure.usage_of(command, environment=_environment())[1])
        self._alone.unlink()
        sockets, again = octets_read(self._folder, command, str(self._alone))
        self._alone.unlink()
        return memory * 1024, sockets, again

    @property
    def _alone(self) -> pathlib.Path:
        return self._folder / "alone"


def octets_read(folder: pathlib.Path, command: t.Sequence[str], files: str) -> tuple[int, int]:
    """How many octets a process reads from sockets, and from files whose path begins with `files`; strace tells."""
    log = folder / "strace.log"
    calls = "read,pread64,readv,preadv,preadv2,recvfrom,recvmsg"
    traced = ["strace", "-f", "-qq", "-y", "-e", f"trace={calls}", "-o", str(log), *command]
    measure.usage_of(traced, environment=_environment())
    found = sockets = 0
    for line in log.open(errors="replace"):
        # A call that others interrupt stands in two lines, and only the first one says what it reads from.
        match = re.search(r"\(\d+<([^>]*)>.* = (\d+)$", line.rstrip())
        if match is not None and match[1].startswith(("socket:", "TCP:")):
            sockets += int(match[2])
        elif match is not None and match[1].startswith(files):
            found += int(match[2])
    return sockets, found


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


class Site:
    """A catalogue with one list, to call the module with, and to run twice."""

    def __init__(self, folder: pathlib.Path, ca: demo_ca.DemoCA) -> None:
        self._folder = folder
        self._ca = ca
        self._list = str(uuid.uuid4())

    def state(self, name: str, images: t.Sequence[tuple[str, Image]]) -> pathlib.Path:
        """A state directory that wants these images: (address, image)."""
        now = datetime.now(timezone.utc)
        signer: t.Any = self._ca.endorser
        document = {
            "dc:identifier": self._list,
            "dc:date:created": to_text(now - timedelta(minutes=1)),
            "dc:date:expires": to_text(now + timedelta(days=2)),
            "hv:version": "1",
            "hv:uri": "https://lists.example.org/list",
            "hv:endorser": {"hv:x509": {"hv:dn": signer.dn, "hv:ca": signer.ca}},
            "hv:images": [
                {
                    "hv:image": {
                        "dc:identifier": str(uuid.UUID(int=number + 1)),
                        "hv:version": "1",
                        "hv:uri": uri,
                        "hv:size": image.size,
                        "sl:checksum:sha512": image.sha512,
                    }
                }
                for number, (uri, image) in enumerate(images)
            ],
        }
        content = json.dumps({"hv:imagelist": document}).encode()
        path = self._folder / f"{name}.list"
        path.write_bytes(sign_message(content, certificate=signer.certificate, key=signer.key))
        options = {
            "uri": path.as_uri(),
            "endorsers": [{"dn": signer.dn, "ca": signer.ca}],
            "anchors": str(self._ca.certificates),
            "new_images": "cache",
            "allow_private": True,
        }
        state = self._folder / name
        with Catalogue.open(state, create=True) as catalogue:
            subscribe(catalogue, Subscription.from_options(options), refresh="always")
        return state


def module(name: str, folder: pathlib.Path, options: t.Mapping[str, t.Any]) -> measure.Usage:
    """What a call of the module takes, as Ansible makes it on the managed host."""
    path = folder / "arguments.json"
    path.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": options}))
    return measure.usage_of([sys.executable, "-m", name, str(path)], environment=_environment())[0]


def called(site: Site, image: Image, base: str, folder: pathlib.Path, rounds: int, goals: measure.Goals) -> None:
    """image_cache beside get_url with a checksum, each as a module call, each to a new file."""
    numbers = iter(range(1000))
    uri = f"{base}/{image.name}"

    def ours() -> measure.Usage:
        state = site.state(f"state-{next(numbers)}", [(uri, image)])
        usage = module(
            "ansible_collections.hepix.vmimages.plugins.modules.image_cache", folder, {"state_dir": str(state)}
        )
        [cached] = [path for path in (state / "cache" / "current").iterdir() if "catalogue.json" not in path.name]
        cached.unlink()
        return usage

    def get_url() -> measure.Usage:
        target = folder / "get_url"
        options = {"url": uri, "dest": str(target), "checksum": f"sha512:{image.sha512}"}
        usage = module("ansible.modules.get_url", folder, options)
        target.unlink()
        return usage

    other = "get_url with checksum"
    contenders = {other: get_url, "image_cache": ours}
    found = measure.Rounds()
    found.run(contenders, rounds=rounds)
    print(_table(found, contenders, other, "module calls, http at 400 MB/s"))
    goals.most("module call / get_url, wall", found.ratio("image_cache", other).wall, 0.6)


def counted(bench: Bench, image: Image, base: str, goals: measure.Goals) -> None:
    """What no clock is needed for."""
    memory, received, again = bench.alone(base)
    goals.most("resident memory", memory / MIB, 64, " MiB")
    goals.most("octets received per octet", received / image.size, 1.001)
    goals.most("octets read again per octet", again / image.size, 0.0)


def unchanged(site: Site, root: pathlib.Path, base: str, folder: pathlib.Path, goals: measure.Goals) -> None:
    """What a second run takes with 1,000 cached images, and how many octets of them it reads."""
    images = []
    for number in range(UNCHANGED):
        octets = os.urandom(1000)
        (root / f"small-{number}").write_bytes(octets)
        images.append((f"{base}/small-{number}", Image("", len(octets), hashlib.sha512(octets).hexdigest())))
    state = site.state("unchanged", images)
    with Catalogue.open(state) as catalogue:
        sync(catalogue)
    found = measure.Rounds()

    def again() -> None:
        with Catalogue.open(state) as catalogue:
            if sync(catalogue).changed:
                raise SystemExit("The second run changed something")

    found.run({"again": lambda: measure.usage_here(again)})
    current = f"{state}/cache/current/00000000-"
    read = octets_read(folder, [sys.executable, "-c", AGAIN, str(state)], current)[1]
    goals.most(f"unchanged run, {UNCHANGED} images, CPU", found.median("again").cpu, 0.1, " s")
    goals.most("unchanged run, image octets read", read, 0)


def main() -> t.NoReturn:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, help="of the image, in MiB (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=measure.LEAST)
    parser.add_argument("parts", metavar="PART", nargs="*", help=f"only these of {', '.join(PARTS)}")
    parser.add_argument("--directory", help="where to work, on the file system to be measured")
    options = parser.parse_args()
    if not set(options.parts) <= set(PARTS):
        parser.error(f"The parts are {', '.join(PARTS)}")
    goals = measure.Goals()
    print(measure.heading(f"Fetching an image of {options.size} MiB and believing it"))
    with tempfile.TemporaryDirectory(dir=options.directory, prefix="vmimages-bench-") as name:
        folder = pathlib.Path(name).resolve()
        root = folder / "web"
        root.mkdir()
        ca = demo_ca.DemoCA(folder / "pki", datetime.now(timezone.utc))
        ca.make()
        image = Image.make(root, "image", options.size * MIB)
        small = Image.make(root, "quarter", options.size * MIB // 4)
        with origin(folder, root, ca.tls) as found:
            bench, site = Bench(folder, image, found), Site(folder, ca)
            parts: dict[str, t.Callable[[], None]] = {
                "http": lambda: compared(bench, "http", found.http, options.rounds, goals),
                "https": lambda: compared(bench, "https", found.https, options.rounds, goals),
                "limited": lambda: compared(bench, "http at 400 MB/s", found.limited, options.rounds, goals),
                "modules": lambda: called(site, image, found.limited, folder, options.rounds, goals),
                "several": lambda: several(Bench(folder, small, found), found.http, options.rounds, goals),
                "counted": lambda: counted(bench, image, found.http, goals),
                "unchanged": lambda: unchanged(site, root, found.http, folder, goals),
            }
            for part in options.parts or parts:
                parts[part]()
    goals.end()


def compared(bench: Bench, what: str, base: str, rounds: int, goals: measure.Goals) -> None:
    """One origin: the table, and what was to be reached."""
    contenders = bench.contenders(base)
    person = "curl && sha512sum && sync"
    found = measure.Rounds()
    found.run(contenders, rounds=rounds)
    print(_table(found, contenders, person, what))
    ratio = found.ratio("ours", person)
    if what == "https":
        goals.most(f"{what}: ours / {person}, wall", ratio.wall, 0.65)
        return
    goals.most(f"{what}: ours / {person}, wall", ratio.wall, 0.75)
    goals.most(f"{what}: ours / {person}, CPU", ratio.cpu, 0.75)
    if "400" in what:
        slowest = max(found.median("curl to /dev/null").wall, found.median("sha512sum (in the page cache)").wall)
        goals.most(f"{what}: ours / the slowest part alone, wall", found.median("ours").wall / slowest, 1.1)


def several(bench: Bench, base: str, rounds: int, goals: measure.Goals) -> None:
    """Four images."""
    contenders = bench.together(base, 4)
    found = measure.Rounds()
    found.run(contenders, rounds=rounds)
    print(_table(found, contenders, "one after the other", "four images, http"))
    ratio = found.ratio("at once", "one after the other")
    goals.most("four at once / one after the other, CPU", ratio.cpu, 1.05)
    goals.most("four at once / one after the other, wall", ratio.wall, 0.6)


def _table(found: measure.Rounds, names: t.Iterable[str], to: str, what: str) -> str:
    rows = []
    for name in names:
        usage, ratio = found.median(name), found.ratio(name, to)
        rows.append((name, f"{usage.wall:.2f}", f"{usage.cpu:.2f}", f"{ratio.wall:.2f}", f"{ratio.cpu:.2f}"))
    return measure.table((what, "wall s", "CPU s", "wall ratio", "CPU ratio"), rows) + "\n"


if __name__ == "__main__":
    main()
