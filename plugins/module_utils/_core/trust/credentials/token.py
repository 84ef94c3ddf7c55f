# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys on PKCS#11 tokens: smart cards, USB tokens, HSMs. The token signs, its key is never seen.

An address is ``pkcs11:token=Name;object=Label?module-path=/usr/lib/.../driver.so`` (RFC 7512); ``id`` and ``serial``
are known too, and without a ``module-path`` p11-kit's proxy stands for all drivers that the system knows. The PIN is
the passphrase; an address that holds it is refused. The work is done by python-pkcs11, which is asked for only here.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import typing as t
import urllib.parse
import weakref
from dataclasses import dataclass

from ...errors import PublishError, TrustError
from .. import library
from . import keys

if t.TYPE_CHECKING:
    from cryptography import x509

    from .keys import SigningKey

_SCHEME: t.Final = "pkcs11:"
_PROXY: t.Final = "p11-kit-proxy.so"
_KNOWN: t.Final = frozenset({"token", "serial", "object", "id", "type", "manufacturer", "model", "module-path"})


@dataclass(frozen=True)
class Address:
    """Which object on which token, by which driver."""

    module: str
    token: t.Optional[str]
    serial: t.Optional[bytes]
    label: t.Optional[str]
    identifier: t.Optional[bytes]


def is_address(text: str) -> bool:
    """Whether it is the address of an object on a token rather than a path."""
    return text.startswith(_SCHEME)


def read_address(text: str) -> Address:
    """Read an address. Raises PublishError ``publish_invalid``."""
    path, _mark, query = text[len(_SCHEME) :].partition("?")
    found: dict[str, bytes] = {}
    for part in filter(None, [*path.split(";"), *query.split("&")]):
        name, _equals, value = part.partition("=")
        if name in ("pin-value", "pin-source"):
            raise _invalid("an address must not hold a PIN: give it by passphrase_file")
        if name not in _KNOWN:
            raise _invalid(f"the attribute {name!r} of a token's address is not known here")
        found[name] = urllib.parse.unquote_to_bytes(value)
    if not ({"object", "id"} & set(found)):
        raise _invalid("a token's address names its object, such as pkcs11:token=Name;object=Label")
    texts = {name: value.decode(errors="replace") for name, value in found.items()}
    return Address(
        module=texts.get("module-path", _PROXY),
        token=texts.get("token"),
        serial=found.get("serial"),
        label=texts.get("object"),
        identifier=found.get("id"),
    )


def load_certificate(text: str) -> x509.Certificate:
    """The certificate on the token. Raises PublishError certificate_missing, TrustError certificate_malformed."""
    import_library()
    from cryptography import x509
    from pkcs11 import Attribute, ObjectClass

    address = read_address(text)
    with _answering(), _token(address).open() as session:
        found = list(session.get_objects(_template(address, ObjectClass.CERTIFICATE)))
        if len(found) != 1:
            raise PublishError("certificate_missing", f"{text} names {len(found)} certificates on its token")
        octets = bytes(found[0][Attribute.VALUE])
    try:
        return x509.load_der_x509_certificate(octets)
    except ValueError as error:
        raise TrustError("certificate_malformed", f"The certificate at {text} cannot be read") from error


def load_key(text: str, certificate: x509.Certificate, passphrase: t.Callable[[], t.Optional[bytes]]) -> SigningKey:
    """The key on the token, proved to be that of `certificate` by a signature.

    Raises PublishError: ``key_missing key_mismatch key_unreadable passphrase_missing passphrase_wrong``.
    """
    import_library()
    import pkcs11

    address, pin = read_address(text), passphrase()
    if pin is None:
        raise PublishError("passphrase_missing", f"The token of {text} asks for its PIN")
    try:
        session = _token(address).open(user_pin=pin.decode(errors="replace"))
    except (pkcs11.PinIncorrect, pkcs11.PinLenRange, pkcs11.PinInvalid, pkcs11.PinLocked) as error:
        raise PublishError(
            "passphrase_wrong", f"The token of {text} refuses the PIN ({type(error).__name__})"
        ) from None
    except pkcs11.PKCS11Error as error:
        raise PublishError("key_unreadable", f"The token of {text} cannot be opened: {type(error).__name__}") from None
    try:
        key = _find_key(session, text, address, certificate)
    except BaseException:
        session.close()
        raise
    # A token lets a process in once: the next one to ask is let in when this key is gone.
    weakref.finalize(key, session.close)
    return key


def _find_key(session: t.Any, text: str, address: Address, certificate: x509.Certificate) -> SigningKey:
    import pkcs11
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import rsa

    with _answering():
        found = list(session.get_objects(_template(address, pkcs11.ObjectClass.PRIVATE_KEY)))
    if len(found) != 1:
        raise PublishError("key_missing", f"{text} names {len(found)} private keys on its token")
    key = keys.require_signing_key(_stand_in(found[0], certificate), f"The private key at {text}")
    if (found[0].key_type == pkcs11.KeyType.RSA) != isinstance(key, rsa.RSAPrivateKey):
        raise PublishError("key_mismatch", f"The private key at {text} is of another kind than the certificate's")
    challenge = secrets.token_bytes(32)
    try:
        _verify(certificate, _sign(key, challenge), challenge)
    except InvalidSignature:
        raise PublishError("key_mismatch", f"The private key at {text} does not belong to the certificate") from None
    return key


@contextlib.contextmanager
def _answering() -> t.Iterator[None]:
    """Refuse what the token refuses; it may be pulled out at any moment."""
    import pkcs11

    try:
        yield
    except pkcs11.PKCS11Error as error:
        detail = f"The token does not answer any more ({type(error).__name__})"
        raise PublishError("key_unreadable", detail) from None


def import_library() -> None:
    """Refuse (TrustError ``library_missing``) where python-pkcs11 is not installed."""
    library.require()
    try:
        import pkcs11  # noqa: F401
    except ImportError:
        detail = "Keys on tokens need the Python library python-pkcs11, which this interpreter does not have"
        raise TrustError("library_missing", detail) from None


def _token(address: Address) -> t.Any:
    import pkcs11

    try:
        driver = pkcs11.lib(address.module)
        return driver.get_token(token_label=address.token, token_serial=address.serial)
    except (pkcs11.NoSuchToken, pkcs11.MultipleTokensReturned) as error:
        many = "no token" if isinstance(error, pkcs11.NoSuchToken) else "several tokens"
        raise PublishError("key_missing", f"The driver {address.module} has {many} of this name") from None
    except (pkcs11.PKCS11Error, RuntimeError, OSError) as error:
        why = str(error) or type(error).__name__
        raise PublishError("key_unreadable", f"The driver {address.module} cannot be used: {why}") from None


def _template(address: Address, kind: t.Any) -> dict[t.Any, t.Any]:
    from pkcs11 import Attribute

    wanted = {Attribute.CLASS: kind, Attribute.LABEL: address.label, Attribute.ID: address.identifier}
    return {attribute: value for attribute, value in wanted.items() if value is not None}


def _sign(key: t.Any, octets: bytes) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(octets, padding.PKCS1v15(), hashes.SHA256())
    return t.cast(bytes, key.sign(octets, ec.ECDSA(hashes.SHA256())))


def _verify(certificate: x509.Certificate, signature: bytes, octets: bytes) -> None:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

    public = certificate.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        public.verify(signature, octets, padding.PKCS1v15(), hashes.SHA256())
    elif isinstance(public, ec.EllipticCurvePublicKey):
        public.verify(signature, octets, ec.ECDSA(hashes.SHA256()))


def _stand_in(handle: t.Any, certificate: x509.Certificate) -> t.Any:
    """An object that signs as cryptography's private keys do, and can do nothing else."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    public = certificate.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        return _rsa_key(handle, public)
    if isinstance(public, ec.EllipticCurvePublicKey):
        return _ec_key(handle, public)
    return None


class _SignsOnly:
    """What every key on a token has in common: nothing of it can be had, and there is only one of it."""

    def private_numbers(self) -> t.Any:
        _never()

    def private_bytes(self, *_arguments: t.Any, **_options: t.Any) -> bytes:
        _never()

    def __copy__(self) -> t.Any:
        return self

    def __deepcopy__(self, memo: t.Any) -> t.Any:
        return self


def _rsa_key(handle: t.Any, public: t.Any) -> t.Any:
    import pkcs11
    from cryptography.hazmat.primitives.asymmetric import rsa

    mechanisms = {
        "sha256": pkcs11.Mechanism.SHA256_RSA_PKCS,
        "sha384": pkcs11.Mechanism.SHA384_RSA_PKCS,
        "sha512": pkcs11.Mechanism.SHA512_RSA_PKCS,
    }

    class TokenKey(_SignsOnly, rsa.RSAPrivateKey):
        key_size: int = public.key_size

        def public_key(self) -> t.Any:
            return public

        def sign(self, data: t.Any, padding: t.Any, algorithm: t.Any) -> bytes:
            with _answering():
                return bytes(handle.sign(bytes(data), mechanism=mechanisms[algorithm.name]))

        def decrypt(self, ciphertext: t.Any, padding: t.Any) -> bytes:
            _never()

    return TokenKey()


def _ec_key(handle: t.Any, public: t.Any) -> t.Any:
    import pkcs11
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    class TokenKey(_SignsOnly, ec.EllipticCurvePrivateKey):
        key_size = public.key_size
        curve = public.curve

        def public_key(self) -> t.Any:
            return public

        def sign(self, data: t.Any, signature_algorithm: t.Any) -> bytes:
            # Tokens sign digests with any curve; not all of them hash.
            digest = hashlib.new(signature_algorithm.algorithm.name, bytes(data)).digest()
            with _answering():
                raw = bytes(handle.sign(digest, mechanism=pkcs11.Mechanism.ECDSA))
            half = len(raw) // 2
            return encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))

        def exchange(self, algorithm: t.Any, peer_public_key: t.Any) -> bytes:
            _never()

    return TokenKey()


def _never() -> t.NoReturn:
    raise PublishError("key_unreadable", "A key on a token signs, and does nothing else")


def _invalid(what: str) -> PublishError:
    return PublishError("publish_invalid", f"private_key: {what}.", option="private_key")
