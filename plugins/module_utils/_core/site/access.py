# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the servers of one subscription are reached: mirrors, proxy, and credentials by the paths of their files."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, fields, replace
from urllib.parse import unquote, urlsplit

from ..errors import TransferError
from ..transfer.policy import Policy, check_uri, normal_host

if t.TYPE_CHECKING:
    from ..transfer.access.credentials import Credentials
    from ..transfer.access.mirrors import Mirror

#: Makes the refusal of an option from its name and what is wrong.
Refuse = t.Callable[[str, str], Exception]

_FILES: t.Final = ("token_file", "password_file", "certificate", "private_key")


@dataclass(frozen=True)
class Access:
    """The options `mirrors`, `credentials`, `proxy`, `proxy_password_file` and `no_proxy`."""

    mirrors: tuple[Mirror, ...] = ()
    credentials: tuple[Credentials, ...] = ()
    proxy: str | None = None
    proxy_password_file: str | None = None
    no_proxy: tuple[str, ...] = ()

    @classmethod
    def from_options(cls, options: t.Mapping[str, t.Any], invalid: Refuse) -> Access:
        """Read what is given of them among other options; `invalid` makes the error to raise for a wrong one."""
        proxy = options.get("proxy") or None
        password_file = options.get("proxy_password_file")
        _check_proxy(proxy, password_file, invalid)
        return cls(
            mirrors=tuple(_mirror(number, item, invalid) for number, item in enumerate(options.get("mirrors") or ())),
            credentials=tuple(
                _credentials(f"credentials[{number}]", item, invalid)
                for number, item in enumerate(options.get("credentials") or ())
            ),
            proxy=proxy,
            proxy_password_file=password_file,
            no_proxy=tuple(sorted({normal_host(name) for name in options.get("no_proxy") or ()})),
        )

    def as_dict(self) -> dict[str, t.Any]:
        """For the journal, the diff and the result; `from_options` reads it back."""
        return {
            "mirrors": [{"match": mirror.match, "replace": mirror.replace} for mirror in self.mirrors],
            "credentials": [_told(item) for item in self.credentials],
            "proxy": self.proxy,
            "proxy_password_file": self.proxy_password_file,
            "no_proxy": list(self.no_proxy),
        }

    def apply(self, policy: Policy) -> Policy:
        """The policy with these options; the administrator's own hosts in them may have any address."""
        mirrors = [mirror.replace for mirror in self.mirrors]
        trusting = policy.trusting(*mirrors)
        return replace(
            trusting,
            trusted_hosts=trusting.trusted_hosts | {item.host for item in self.credentials},
            file_roots=tuple(unquote(urlsplit(base).path) for base in mirrors if base.startswith("file:")),
            credentials=self.credentials,
            proxy=self.proxy,
            proxy_password_file=self.proxy_password_file,
            no_proxy=self.no_proxy,
        )

    def mirrors_of(self, uri: str) -> tuple[str, ...]:
        """Where the mirrors have the image with the address `uri`, in their order."""
        if not self.mirrors:
            return ()
        from ..transfer.access.mirrors import addresses

        return addresses(uri, self.mirrors)


def _check_proxy(proxy: str | None, password_file: str | None, invalid: Refuse) -> None:
    if proxy is None and password_file is None:
        return
    from ..transfer.access.proxies import ENVIRONMENT, is_proxy_address

    if proxy is not None and proxy != ENVIRONMENT and not is_proxy_address(proxy):
        raise invalid("proxy", "it is not the address of a proxy, such as http://squid.example.org:3128")
    if password_file is not None and (proxy is None or proxy == ENVIRONMENT):
        raise invalid("proxy_password_file", "it is for the proxy that the option proxy names, and it names none")


def _mirror(number: int, item: t.Mapping[str, t.Any], invalid: Refuse) -> Mirror:
    from ..transfer.access.mirrors import Mirror

    option = f"mirrors[{number}]"
    for key, files in (("match", False), ("replace", True)):
        text = item.get(key) or ""
        try:
            check_uri(text, allow_file=files)
        except TransferError as error:
            raise invalid(f"{option}.{key}", error.detail) from error
        if not text.endswith("/") or "?" in text or "#" in text:
            raise invalid(f"{option}.{key}", "it is the beginning of addresses, and ends in a slash")
    return Mirror(item["match"], item["replace"])


def _credentials(option: str, item: t.Mapping[str, t.Any], invalid: Refuse) -> Credentials:
    from ..transfer.access.credentials import Credentials

    host, port = _server(item.get("host") or "", f"{option}.host", invalid)
    given = {name: item[name] for name in _FILES if item.get(name)}
    for name, path in given.items():
        if not isinstance(path, str) or not path.startswith("/"):
            raise invalid(f"{option}.{name}", f"{path!r} is not an absolute path")
    if "token_file" in given and "password_file" in given:
        raise invalid(option, "a server is given a token or a password, not both")
    if "private_key" in given and "certificate" not in given:
        raise invalid(f"{option}.private_key", "it is of no use without its certificate")
    if not given:
        raise invalid(option, "a file is needed: token_file, password_file or certificate")
    return Credentials(host=host, port=port, **given)


def _server(text: str, option: str, invalid: Refuse) -> tuple[str, int | None]:
    """Reads ``host``, ``host:port`` and ``[IPv6 address]:port``."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = normal_host(parts.hostname or ""), parts.port
    except ValueError:
        host, port = "", None
    if not host or port == 0 or parts.netloc != text or "@" in text or not text.isprintable():
        raise invalid(option, f"{text!r} is not a host, such as images.example.org or dcache.example.org:2880")
    return host, port


def _told(item: Credentials) -> dict[str, t.Any]:
    host = f"[{item.host}]" if ":" in item.host else item.host
    given = {field.name: getattr(item, field.name) for field in fields(item) if field.name in _FILES}
    return {
        "host": host if item.port is None else f"{host}:{item.port}",
        **{name: path for name, path in given.items() if path is not None},
    }
