# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers to publish into: a directory, OpenSSH, nginx with WebDAV over https, an S3 store."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import typing as t
from pathlib import Path

from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.upload.base import Settings, Uploader
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.upload.rules import UploadRule, uploader_for

from . import dav, nginx, sshd


@dataclasses.dataclass(frozen=True)
class FarEnd:
    """How it is reached, the beginning of its targets, and the files there: name -> octets."""

    method: str
    settings: Settings
    base: str
    files: t.Callable[[], dict[str, bytes]]

    @property
    def uploader(self) -> Uploader:
        return uploader_for(UploadRule("x", "x", self.method, self.settings))

    def rule(self, uri_match: str) -> dict[str, t.Any]:
        """As an option of the modules: what begins with `uri_match` goes here."""
        given = {name: value for name, value in dataclasses.asdict(self.settings).items() if value is not None}
        return {"method": self.method, "uri_match": uri_match, "uri_replace": self.base, **given}


def _tree(root: Path) -> t.Callable[[], dict[str, bytes]]:
    return lambda: {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@contextlib.contextmanager
def local(tmp_path: Path, verify: str = "size") -> t.Iterator[FarEnd]:
    yield FarEnd("local", Settings(verify=verify), f"{tmp_path}/far/", _tree(tmp_path / "far"))


@contextlib.contextmanager
def sftp(tmp_path: Path, verify: str = "size") -> t.Iterator[FarEnd]:
    with sshd.serve(tmp_path) as server:
        settings = Settings(ssh_key=str(server.key), ssh_known_hosts=str(server.known_hosts), verify=verify)
        yield FarEnd("sftp", settings, f"{server.target}/", _tree(server.root))


@contextlib.contextmanager
def webdav(tmp_path: Path, pki: t.Any, verify: str = "size", location: str = "dav") -> t.Iterator[FarEnd]:
    roots = b"".join(path.read_bytes() for path in sorted(Path(pki.certificates).glob("*.0")))
    (tmp_path / "clients.pem").write_bytes(roots)
    locations = dav.LOCATIONS.format(certificates=tmp_path / "clients.pem")
    with nginx.serve(tmp_path, pki.tls, locations=locations) as server:
        (server.root / location).mkdir()
        settings = Settings(
            client_certificate=str(pki.endorser.certificate_path),
            client_key=str(pki.endorser.key_path),
            ca_path=str(pki.tls / "ca.pem"),
            verify=verify,
        )
        yield FarEnd("webdav", settings, f"{server.uri}/{location}/", _tree(server.root / location))


@contextlib.contextmanager
def s3(tmp_path: Path, verify: str = "size") -> t.Iterator[FarEnd]:
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        credentials = tmp_path / "credentials"
        credentials.write_text("[site]\naws_access_key_id = key\naws_secret_access_key = secret\n")
        credentials.chmod(0o600)
        bucket = f"images-{time.time_ns()}"
        client = boto3.client(
            "s3",
            endpoint_url=f"http://{host}:{port}",
            region_name="us-east-1",
            aws_access_key_id="key",
            aws_secret_access_key="secret",
        )
        client.create_bucket(Bucket=bucket)
        settings = Settings(
            endpoint=f"http://{host}:{port}",
            region="us-east-1",
            profile="site",
            credentials_file=str(credentials),
            verify=verify,
        )

        def files() -> dict[str, bytes]:
            listed = client.list_objects_v2(Bucket=bucket).get("Contents", ())
            return {each["Key"]: client.get_object(Bucket=bucket, Key=each["Key"])["Body"].read() for each in listed}

        yield FarEnd("s3", settings, f"s3://{bucket}/", files)
    finally:
        server.stop()


#: By name; each takes a directory and the test's CA.
KINDS: t.Final[t.Mapping[str, t.Callable[[Path, t.Any], contextlib.AbstractContextManager[FarEnd]]]] = {
    "local": lambda tmp_path, pki: local(tmp_path, "sha512"),
    "sftp": lambda tmp_path, pki: sftp(tmp_path, "sha512"),
    "webdav": lambda tmp_path, pki: webdav(tmp_path, pki, "sha512"),
    "plain put": lambda tmp_path, pki: webdav(tmp_path, pki, "sha512", "plain"),
    "s3": lambda tmp_path, pki: s3(tmp_path, "sha512"),
}
