# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is fuzzed: a message ends in the genuine content by its signer, or in a refusal that is no crash."""

from __future__ import annotations

import base64
import datetime
import json
import pathlib
import shutil
import typing as t

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TrustError, VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.imagelist.check import check_list
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust import (
    anchors,
    certificates,
    verify,
)
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.message import mime, smime

CORPUS: t.Final = pathlib.Path(__file__).resolve().parents[1] / "unit/plugins/module_utils/_core/trust/corpus"
MESSAGES: t.Final = CORPUS / "messages"
WHEN: t.Final = datetime.datetime(2026, 11, 20, 12, tzinfo=datetime.timezone.utc)
OPAQUE: t.Final = b"Content-Type: application/pkcs7-mime\nContent-Transfer-Encoding: base64\n\n"


class WrongError(AssertionError):
    """The verifier has crashed, or believed what nobody signed."""


class Target:
    """The corpus, its anchors (copied to `directory`, anew), and what its good messages say."""

    def __init__(self, directory: pathlib.Path) -> None:
        config: dict[str, t.Any] = json.loads((CORPUS / "config.json").read_text(encoding="utf-8"))
        self._identifier: str = config["identifier"]
        self._endorsers = [(pair[0], pair[1]) for pair in config["authorised_endorsers"]]
        self._anchors = _load_anchors(directory / "anchors")
        self.seeds = {path.stem: path.read_bytes() for path in sorted(MESSAGES.glob("*.eml"))}
        #: (content, signer's certificate) of every message of the corpus that is accepted
        self.genuine: set[tuple[bytes, bytes]] = set()
        for octets in self.seeds.values():
            accepted = self._accepted(octets)
            if accepted is not None:
                self.genuine.add(accepted)

    def _accepted(self, octets: bytes) -> tuple[bytes, bytes] | None:
        try:
            found = verify.verify_message(octets, self._anchors, WHEN)
            check_list(
                found.content,
                found.certificate,
                WHEN,
                identifier=self._identifier,
                endorsers=self._endorsers,
                last_accepted=None,
            )
        except VmimagesError as refusal:
            if refusal.code == "internal_error":
                raise WrongError(f"{refusal.detail}: {refusal.__cause__!r}") from refusal
            return None
        return found.content, certificates.der_of(found.certificate)

    def run(self, octets: bytes) -> bool:
        """Whether the message is accepted; raises `WrongError`, and whatever escapes the verifier."""
        try:
            smime.read_message(octets)
        except TrustError as refusal:
            if refusal.code == "internal_error":
                raise WrongError(f"{refusal.detail}: {refusal.__cause__!r}") from refusal
        accepted = self._accepted(octets)
        if accepted is not None and accepted not in self.genuine:
            raise WrongError(f"This was accepted, and nobody has signed it: {accepted[0][:200]!r}")
        return accepted is not None


def _load_anchors(directory: pathlib.Path) -> anchors.Anchors:
    """The corpus' anchors, with permissions that no checkout can spoil."""
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(CORPUS / "trust" / "trust", directory)
    directory.chmod(0o755)
    for path in directory.iterdir():
        path.chmod(0o644)
    return anchors.load_directory(directory)


def with_cms(octets: bytes, change: t.Callable[[bytes], bytes]) -> bytes:
    """The message with other CMS octets in the same wrapping; `change` of the whole message where it has none."""
    try:
        parts = mime.split(octets)
    except TrustError:
        return change(octets)
    cms = change(parts.cms)
    if parts.content is None:
        return OPAQUE + base64.encodebytes(cms)
    return mime.join(parts.content, cms, micalg="sha-256", boundary="----Fuzz")
