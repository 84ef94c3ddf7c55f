# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The corpus once more by `openssl cms -verify`: wherever the two disagree, the table says why ours is right."""

from __future__ import annotations

import json
import pathlib
import subprocess
import typing as t

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TrustError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.verify import verify_message

HERE = pathlib.Path(__file__).parent
PAGE = HERE.parents[5] / "docs" / "docsite" / "rst" / "trust" / "trust_model.rst"
MANIFEST: list[dict[str, t.Any]] = json.loads((HERE / "corpus" / "manifest.json").read_text(encoding="utf-8"))
ACCEPTED = "accepted"

pytestmark = pytest.mark.needs("openssl")


class Disagreement(t.NamedTuple):
    """Messages (none: any) for which ours ends like this ("accepted" or codes), openssl the other way, and why."""

    ours: str
    messages: str
    why: str


# Made with OpenSSL 3.0, whose verdicts are compared: a later one may agree with us more often, never less.
TABLE: t.Final = (
    Disagreement(
        ACCEPTED,
        "ok-openssl-cms-binary",
        "The signer hashed lines that end in LF. The octets as sent and their canonical form are tried here, and the"
        " signed digest decides; openssl hashes the canonical form only.",
    ),
    Disagreement(
        ACCEPTED,
        "ok-ed25519-rfc8419 ok-bc-owen-ed25519-ed25519-opaque",
        "OpenSSL 3.0 cannot verify Ed25519 in CMS, which RFC 8419 defines.",
    ),
    Disagreement(
        ACCEPTED,
        "ok-host-cert-ossl3-dn",
        "The site allows host certificates (``allow_host``); openssl wants the purpose of e-mail.",
    ),
    Disagreement(
        ACCEPTED,
        "bad-digest-algs-empty",
        "The list of digest algorithms in front of the content is empty, which RFC 5652, 5.1 allows; the signer's own"
        " entry names the digest that is checked.",
    ),
    Disagreement(
        "cms_no_signed_attributes",
        "bad-no-signed-attrs",
        "Without signed attributes the same signature can be read as one over a content that looks like attributes.",
    ),
    Disagreement(
        "cms_content_type",
        "bad-ctype-attr bad-both-ctypes-tst",
        "What was signed is a time stamp's content and no data: a signature that was given for something else.",
    ),
    Disagreement(
        "cms_signer_count", "bad-two-signers-same", "A list has one signer, so that it is clear who vouches for it."
    ),
    Disagreement(
        "cms_dual_content",
        "bad-dual-content-different",
        "One content is in the signature and another beside it: readers would differ in what was signed.",
    ),
    Disagreement(
        "weak_algorithm",
        "bad-md5 bad-md5-even-with-sha1-opt-in bad-sha1-no-opt-in",
        "MD5 is never believed, and SHA-1 only where the site says so.",
    ),
    Disagreement(
        "unsupported_algorithm",
        "bad-pss-sha1-mgf",
        "RSASSA-PSS with SHA-1 in its mask generation is outside of the profile.",
    ),
    Disagreement(
        "cms_malformed", "bad-trailing-der", "Octets follow the signature's structure, and nothing vouches for them."
    ),
    Disagreement(
        "mime_malformed mime_unsupported",
        "bad-nested-signed bad-mime-data-after-close bad-mime-cte-8bit bad-mime-html-part bad-mime-inner-boundary",
        "The MIME structure is not that of a signed list; lenient readers differ in what they take for its content.",
    ),
    Disagreement(
        "crl_unavailable revoked",
        "bad-stale-crl-in-message ok-embedded-crl-ignored",
        "A CRL inside the message stands in for the site's own where that is newer, broken or not there: whoever is"
        " revoked chooses the CRL by which he is judged. Here CRLs in messages are never read.",
    ),
    Disagreement(
        "crl_unavailable revoked",
        "bad-crl-expired-if-present ok-nocrl-dir-if-present",
        "With ``crl_mode: if-present`` a CRL that is there still counts; openssl asks for all CRLs or for none.",
    ),
    Disagreement(
        "dn_ambiguous",
        "bad-dn-slash-cn",
        "The signer's name holds what reads as a further part of it, so it could pass for another endorser's.",
    ),
    Disagreement(
        "namespace_missing namespace_violation",
        "",
        "openssl knows nothing of the names that a CA of the grid may issue.",
    ),
)


class Compared(t.NamedTuple):
    """One message under one directory: our verdict and content, and openssl's content, None when it refused."""

    message: str
    trust: str
    ours: str
    content: bytes
    theirs: bytes | None

    @property
    def disagree(self) -> bool:
        return (self.ours == ACCEPTED) is (self.theirs is None)


def openssl(
    message: pathlib.Path, bundle: pathlib.Path, output: pathlib.Path, when: int, *, crls: bool
) -> bytes | None:
    # Without each of -no-CA* the system's store would be trusted as well, and without -crl_check_all no CRL asked.
    command = ["openssl", "cms", "-verify", "-inform", "SMIME", "-in", str(message), "-out", str(output)]
    command += ["-CAfile", str(bundle), "-no-CApath", "-no-CAstore", "-attime", str(when)]
    command += ["-purpose", "smimesign", "-x509_strict", "-auth_level", "2", *(["-crl_check_all"] if crls else [])]
    environment = {"PATH": "/usr/bin:/bin:/usr/local/bin", "OPENSSL_CONF": "/dev/null", "LC_ALL": "C"}
    done = subprocess.run(command, check=False, capture_output=True, env=environment, timeout=30)
    # A wrong option or a missing file would make every comparison mean nothing.
    assert done.returncode in (0, 4) or b"Error reading SMIME Content Info" in done.stderr, done.stderr
    return output.read_bytes() if done.returncode == 0 else None


@pytest.fixture(scope="module")
def compared(corpus: t.Any, tmp_path_factory: pytest.TempPathFactory) -> list[Compared]:
    """Every message with the anchors of its own; the good ones also with all the other anchors."""
    directory = tmp_path_factory.mktemp("openssl")
    bundles = {}
    for trust in sorted(path.name for path in corpus.trust.iterdir()):
        files = [file for file in (corpus.trust / trust).iterdir() if file.suffix[1:].lstrip("r").isdigit()]
        bundles[trust] = directory / f"{trust}.pem"
        bundles[trust].write_bytes(b"".join(sorted({file.read_bytes() for file in files})))
    found = []
    for entry in MANIFEST:
        options = {{"ns_mode": "namespaces_mode"}.get(key, key): value for key, value in entry["options"].items()}
        options.pop("state", None)
        message = HERE / "corpus" / "messages" / entry["file"]
        for trust in bundles if entry["expect"] == "accept" else (entry["trust"],):
            ours, content = ACCEPTED, b""
            try:
                octets = message.read_bytes()
                content = verify_message(octets, corpus.anchors(trust), corpus.when, **options).content
            except TrustError as refusal:
                ours = refusal.code
            crls = options.get("crl_mode") != "if-present"
            when = int(corpus.when.timestamp())
            theirs = openssl(message, bundles[trust], directory / "content", when, crls=crls)
            found.append(Compared(message.stem, trust, ours, content, theirs))
    return found


def explanations(one: Compared) -> list[Disagreement]:
    return [
        entry
        for entry in TABLE
        if one.ours in entry.ours.split() and (not entry.messages or one.message in entry.messages.split())
    ]


def test_every_disagreement_is_in_the_table(compared: list[Compared]) -> None:
    assert len(compared) > 500
    unlisted = [
        f"{one.message} with {one.trust}: ours {one.ours}, openssl {'refused' if one.theirs is None else ACCEPTED}"
        for one in compared
        if one.disagree and len(explanations(one)) != 1
    ]
    assert unlisted == []


def test_every_entry_of_the_table_is_a_disagreement(compared: list[Compared]) -> None:
    disagreements = [one for one in compared if one.disagree]
    seen = {(entry.why, one.message) for one in disagreements for entry in explanations(one)}
    listed = {(entry.why, message) for entry in TABLE for message in entry.messages.split()}
    version = subprocess.run(["openssl", "version"], check=True, capture_output=True, text=True).stdout
    if version.startswith("OpenSSL 3.0."):
        assert listed - seen == set()
    assert any("namespace" in one.ours for one in disagreements)


def test_both_read_the_same_content(compared: list[Compared]) -> None:
    agreed = [one for one in compared if one.ours == ACCEPTED and one.theirs is not None]
    assert len(agreed) > 50
    for one in agreed:
        assert one.theirs is not None
        ours, theirs = (octets.replace(b"\r\n", b"\n") for octets in (one.content, one.theirs))
        # openssl leaves a header block where the part has one
        assert ours in (theirs, theirs.partition(b"\n\n")[2]), one.message


def documented() -> str:
    """The table of the page."""
    lines = [
        ".. list-table::",
        "   :header-rows: 1",
        "   :widths: 20 15 65",
        "",
        "   * - Ours",
        "     - ``openssl cms -verify``",
        "     - Why ours is right",
    ]
    for entry in TABLE:
        ours = ACCEPTED if entry.ours == ACCEPTED else ", ".join(f"``{code}``" for code in entry.ours.split())
        lines += [f"   * - {ours}", f"     - {'refused' if ours == ACCEPTED else ACCEPTED}", f"     - {entry.why}"]
    return "\n".join(lines)


def test_the_page_says_where_they_disagree() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.partition(".. openssl: begin\n\n")[2].partition("\n\n.. openssl: end")[0] == documented()
