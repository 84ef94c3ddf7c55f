# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Publish into an S3 store (AWS, Ceph, MinIO) with boto3, which is what every such store is tested with.

An object appears when its upload is complete; a large one is sent in several parts, side by side.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import typing as t

from ...errors import TransferError
from ..access.private import require_private
from ..checksum import BUFFER_SIZE, Digest
from ..connections import library_missing
from .base import Announced, Payload, Settings, Stored, check_digest, check_stored, opened, shown_payload

_TARGET: t.Final = re.compile(r"s3://(?P<bucket>[A-Za-z0-9.\-_]+)/(?P<key>[^\x00-\x1f\x7f]*[^\x00-\x1f\x7f/])")
_PART: t.Final = 8 * 1024 * 1024
_PARTS: t.Final = 9000
_CODES: t.Final = {
    "AccessDenied": "login_refused",
    "InvalidAccessKeyId": "login_refused",
    "SignatureDoesNotMatch": "login_refused",
    "403": "login_refused",
    "NoSuchBucket": "not_found",
}


class S3Uploader:
    """An `Uploader` whose targets are ``s3://bucket/key``."""

    readable: t.Final = True
    takes_images: t.Final = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._made: t.Any = None

    def put(self, payload: Payload, target: str, *, size: int, sha512: str) -> None:
        place = _place(target)
        with opened(payload) as source, _errors(target):
            body = Announced(source, shown_payload(payload), size=size, sha512=sha512)
            self._client().upload_fileobj(body, place["Bucket"], place["Key"], Config=_transfer(size))
        check_stored(self.stat(target), target, size)
        if self._settings.verify == "sha512":
            check_digest(self.digest(target), target, size=size, sha512=sha512)

    def stat(self, target: str) -> t.Optional[Stored]:
        place = _place(target)
        with _errors(target):
            client = self._client()
            try:
                found = client.head_object(**place)
            except client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
                    return None
                raise
        return Stored(int(found["ContentLength"]), str(found.get("ETag", "")))

    def read(self, target: str, limit: int) -> t.Optional[bytes]:
        if self.stat(target) is None:
            return None
        with _errors(target):
            octets: bytes = self._client().get_object(**_place(target))["Body"].read(limit)
        return octets

    def digest(self, target: str) -> Digest:
        state, size = hashlib.sha512(), 0
        with _errors(target):
            for piece in self._client().get_object(**_place(target))["Body"].iter_chunks(BUFFER_SIZE):
                state.update(piece)
                size += len(piece)
        return Digest(size, state.hexdigest())

    def sweep(self, target: str) -> None:
        """Abort what a killed writer has sent in parts: nobody can read it, and the store keeps it for ever.

        A store, or its key, that lets nobody list them has to forget them by a rule of its own.
        """
        place = _place(target)
        with contextlib.suppress(TransferError), _errors(target):
            client = self._client()
            listed = client.list_multipart_uploads(Bucket=place["Bucket"], Prefix=place["Key"])
            for begun in listed.get("Uploads", ()):
                if begun["Key"] == place["Key"]:
                    client.abort_multipart_upload(**place, UploadId=begun["UploadId"])

    def _client(self) -> t.Any:
        if self._made is None:
            self._made = self._new_client()
        return self._made

    def _new_client(self) -> t.Any:
        try:
            import boto3
            import botocore.session
        except ImportError as error:
            raise library_missing("boto3") from error
        given = self._settings
        session = botocore.session.Session(profile=given.profile)
        if given.credentials_file:
            require_private(given.credentials_file, "The file of the credentials")
            session.set_config_variable("credentials_file", given.credentials_file)
        return boto3.Session(botocore_session=session, region_name=given.region).client(
            "s3", endpoint_url=given.endpoint, verify=given.ca_path
        )


def _transfer(size: int) -> t.Any:
    """Parts of a size that stays below the store's 10,000 of them, few enough at once to stay small in memory."""
    from boto3.s3.transfer import TransferConfig

    part = max(_PART, -(-size // _PARTS))
    return TransferConfig(multipart_threshold=part, multipart_chunksize=part, max_concurrency=4)


def _place(target: str) -> dict[str, str]:
    found = _TARGET.fullmatch(target)
    if found is None:
        raise TransferError("upload_failed", f"The upload target {target!r} is not s3://bucket/key", path=target)
    return {"Bucket": found.group("bucket"), "Key": found.group("key")}


@contextlib.contextmanager
def _errors(target: str) -> t.Iterator[None]:
    """Turn what boto3 raises into a refusal."""
    try:
        import boto3.exceptions
        import botocore.exceptions
    except ImportError as error:
        raise library_missing("boto3") from error
    try:
        yield
    except botocore.exceptions.ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        raise TransferError(_CODES.get(code, "upload_failed"), f"The store refuses {target}: {code}") from error
    except (botocore.exceptions.NoCredentialsError, botocore.exceptions.ProfileNotFound) as error:
        raise TransferError("login_refused", f"There are no credentials for {target}") from error
    except botocore.exceptions.SSLError as error:
        raise TransferError("tls_failed", f"The TLS connection for {target} failed") from error
    except (boto3.exceptions.Boto3Error, botocore.exceptions.BotoCoreError) as error:
        raise TransferError("upload_failed", f"The upload to {target} failed: {type(error).__name__}") from error
