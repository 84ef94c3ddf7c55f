# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what is asked for to the files of the disk: the book's three strategies, and the flavours of its readers."""

from __future__ import annotations

import base64
import re
import typing as t

from ....errors import ContextError
from ..lint import Lint
from ..spec import SCRIPTS, SHELL_FLAVOURS, ContextSpec, check_payload_user
from ..tree import PLAIN_MODE, SCRIPT_MODE, Disk, Entry
from .cloud import cloud_files, user_data_octets
from .content import LARGEST, Sources
from .packages import check_package
from .targets import check_mode, check_owner, check_target
from .variables import forbidden, read_variables, variable_name, variable_value, write_context

CONTEXT: t.Final = "context.sh"
FILES_MAP: t.Final = "files.map"
SECRETS: t.Final = "secrets.list"
PACKAGES: t.Final = "packages"

#: Names that mean something to a reader; scripts come by their own option.
RESERVED: t.Final = frozenset(
    {
        *(CONTEXT, FILES_MAP, SECRETS, PACKAGES, *SCRIPTS.values()),
        *("user-data", "meta-data", "vendor-data", "network-config", "user-data.txt", "ovf-env.xml"),
        *("openstack", "ec2", "cloudstack"),
    }
)
#: Some readers look at the disk only below this.
CLOUD_LIMIT: t.Final = 10_000_000
_FILE_NAME: t.Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,62}")
_SECRET: t.Final = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY-----|(?i:\b(?:password|passwd|passphrase|secret|token)\s*[=:]\s*[^\s$\"'{])"
)
_CARRIES_USER_DATA: t.Final = frozenset({"amiconfig", "opennebula", "nocloud", "configdrive"})


def compose(spec: ContextSpec, sources: Sources) -> Disk:
    """The disk. Findings go to the lint of `sources`, which the caller settles.

    Raises `ContextError` and `TransferError`.
    """
    lint = sources.lint
    files = _Files(lint)
    _lint_flavours(spec, lint)
    for name, item in spec.scripts.items():
        octets = sources.read(item, f"scripts.{name}")
        files.add(SCRIPTS[name], _script(octets, f"scripts.{name}", lint), SCRIPT_MODE, f"scripts.{name}", item)
    for number, item in enumerate(spec.files):
        _add_file(item, f"files[{number}]", sources, files)
    for number, path in enumerate(spec.packages):
        _add_package(path, f"packages[{number}]", sources, files)
    user_data = user_data_octets(spec, sources)
    variables = _variables(spec, user_data, sources)
    names = _secret_names(spec)
    _lint_one_context(spec, variables, lint)
    if variables:
        entry = Entry(write_context(variables), PLAIN_MODE, secret=bool(names))
        files.entries[CONTEXT] = entry
    for path, octets in cloud_files(spec, user_data).items():
        secret = spec.user_data_src is not None and path.endswith(("user-data", "user_data"))
        files.entries[path] = Entry(octets, PLAIN_MODE, secret=secret)
    files.finish(names)
    _lint_size(spec, files.entries, lint)
    shown = {name: None if name in names else value for name, value in variables.items()}
    return Disk(label=spec.label, entries=files.entries, variables=shown)


class _Files:
    """The files of the disk so far, their places in the guest, and the lint of their contents."""

    def __init__(self, lint: Lint) -> None:
        self.entries: dict[str, Entry] = {}
        self._lint = lint
        self._places: list[str] = []
        self._targets: dict[str, str] = {}
        self._folded: set[str] = set()

    def add(self, path: str, octets: bytes, mode: int, where: str, item: t.Mapping[str, t.Any]) -> None:
        """Raises `ContextError` ``file_name_clash``: names differ by more than their case, for the sake of Joliet."""
        if path.lower() in self._folded:
            raise ContextError("file_name_clash", f"{where}: there is another file {path}")
        self._folded.add(path.lower())
        found = _SECRET.search(octets[: 1024 * 1024]) is not None
        if found and item.get("src") is None:
            self._lint.warn("secret_in_clear", where, "what looks like a secret stands in the task itself")
        secret = bool(item.get("secret")) or found
        self.entries[path] = Entry(octets, mode, secret=secret)

    def place(self, name: str, item: t.Mapping[str, t.Any], where: str) -> None:
        """Note in files.map where the file goes: source, mode, owner, group, target."""
        target = check_target(str(item["target"]), where, self._lint)
        if target in self._targets:
            raise ContextError("file_name_clash", f"{where}: {self._targets[target]} goes to {target} as well")
        self._targets[target] = name
        secret = self.entries[name].secret
        mode = check_mode(str(item.get("mode") or ("0600" if secret else "0644")), where)
        owner, group = (check_owner(str(item.get(key) or "root"), where) for key in ("owner", "group"))
        self._places.append(f"{name} {mode} {owner} {group} {target}\n")

    def finish(self, secret_variables: t.Collection[str]) -> None:
        """Add what tells the guest where files go, and which files and variables are to be wiped after use."""
        if self._places:
            header = "# source mode owner group target\n"
            self.entries[FILES_MAP] = Entry((header + "".join(sorted(self._places))).encode())
        marked = [f"file {path}\n" for path in sorted(self.entries) if self.entries[path].secret and path != CONTEXT]
        marked += [f"variable {name}\n" for name in sorted(secret_variables)]
        if marked:
            self.entries[SECRETS] = Entry("".join(marked).encode())


def _add_file(item: t.Mapping[str, t.Any], where: str, sources: Sources, files: _Files) -> None:
    name = item.get("name")
    if name is None:
        if item.get("src") is None:
            raise ContextError("file_name_refused", f"{where}: there is no name, and no src to take one from")
        name = str(item["src"]).rsplit("/", 1)[-1]
    _check_name(name, where)
    octets = sources.read(item, where)
    if name.endswith(".sh"):
        octets = _script(octets, where, sources.lint)
    files.add(name, octets, SCRIPT_MODE if name.endswith(".sh") else PLAIN_MODE, where, item)
    if item.get("target") is not None:
        files.place(name, item, where)


def _check_name(name: str, where: str) -> None:
    if not _FILE_NAME.fullmatch(name):
        raise ContextError("file_name_refused", f"{where}: {name[:80]!r} cannot be the name of a file on the disk")
    if name.lower() in RESERVED:
        raise ContextError(
            "file_name_clash", f"{where}: {name} is a name that readers look for, with an option of its own"
        )


def _add_package(path: str, where: str, sources: Sources, files: _Files) -> None:
    name = path.rsplit("/", 1)[-1]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+~:^-]{0,200}", name):
        raise ContextError("file_name_refused", f"{where}: {name[:80]!r} is not the name of a package")
    octets = sources.read_file(path, where)
    check_package(name, octets, where, sources.lint)
    # Joliet's names end at 64 characters; a package is known by its content, not by its name.
    stem, _dot, kind = name.replace(":", "_").replace("^", "_").replace("~", "_").rpartition(".")
    files.add(f"{PACKAGES}/{stem[:56]}.{kind}", octets, PLAIN_MODE, where, {"src": path})


def _script(octets: bytes, where: str, lint: Lint) -> bytes:
    first = octets.split(b"\n", 1)[0]
    if b"\r\n" in octets or first.endswith(b"\r"):
        lint.breach("script_line_ends", where, "the script has the line ends CR LF, and shells take the CR for a word")
    if not octets.startswith(b"#!"):
        lint.warn("script_without_interpreter", where, f"the script begins with {first[:20]!r}")
    return octets


def _variables(spec: ContextSpec, user_data: t.Optional[bytes], sources: Sources) -> dict[str, str]:
    given = read_variables(spec.variables, "variables", sources.lint)
    for key, path in spec.secret_variables.items():
        where = f"secret_variables.{key}"
        name = variable_name(key, where)
        if name in given:
            raise ContextError("variable_invalid", f"{where}: there is another variable {name}")
        if forbidden(name):
            sources.lint.breach("variable_forbidden", where, f"the variable {name} must not be set")
        text = sources.read_file(str(path), where).decode("utf-8", "surrogateescape")
        given[name] = variable_value(text[:-1] if text.endswith("\n") else text, where)
    if spec.payload_user is None:
        check_payload_user(given.get("PAYLOAD_USER") or None, "variables.PAYLOAD_USER")
    own = {name: value for name, value in _own_variables(spec, user_data).items() if value is not None}
    for name, value in own.items():
        if given.get(name, value) != value and name != "VMID":
            raise ContextError("variable_invalid", f"variables.{name}: another option gives {name} another value")
    return {**own, **given}


def _own_variables(spec: ContextSpec, user_data: t.Optional[bytes]) -> dict[str, t.Optional[str]]:
    """What other options say, under the names that the readers know (requirement X14)."""
    keys = "\n".join(spec.ssh_authorized_keys) or None
    encoded = None if user_data is None else base64.b64encode(user_data).decode("ascii")
    if not SHELL_FLAVOURS & set(spec.flavours):
        return {}
    variables: dict[str, t.Optional[str]] = {
        "HEPIX_INSTANCE_ID": spec.instance_id,
        "VMID": spec.instance_id,
        "HOSTNAME": spec.hostname,
        "SSH_PUBLIC_KEY": keys,
        "SSH_PUB_KEY": keys,
        "PAYLOAD_USER": spec.payload_user,
        "TTL": None if spec.ttl_hours is None else str(spec.ttl_hours),
    }
    if "opennebula" in spec.flavours:
        variables["SET_HOSTNAME"] = spec.hostname
        variables["USER_DATA"] = encoded
        variables["USERDATA_ENCODING"] = None if encoded is None else "base64"
    if "amiconfig" in spec.flavours:
        variables["EC2_USER_DATA"] = encoded
    return variables


def _secret_names(spec: ContextSpec) -> set[str]:
    names = {str(name).upper() for name in spec.secret_variables}
    return names | ({"USER_DATA", "EC2_USER_DATA"} if spec.user_data_src is not None else set())


def _lint_flavours(spec: ContextSpec, lint: Lint) -> None:
    flavours = set(spec.flavours)
    shown = ", ".join(spec.flavours)
    if "init" in spec.scripts and "prolog" in spec.scripts:
        lint.breach("init_beside_prolog", "scripts", "there are both init and prolog")
    if (spec.user_data is not None or spec.user_data_src is not None) and not flavours & _CARRIES_USER_DATA:
        lint.warn("nobody_reads", "user_data", f"no reader of {shown} takes it")
    asked = (("scripts", spec.scripts), ("variables", spec.variables), ("secret_variables", spec.secret_variables))
    for name, given in (*asked, ("packages", spec.packages)):
        if given and not flavours & SHELL_FLAVOURS:
            lint.warn("nobody_reads", name, f"no reader of {shown} takes it")
    documents: tuple[tuple[str, t.Any, set[str]], ...] = (
        ("network_config", spec.network_config, {"nocloud"}),
        ("vendor_data", spec.vendor_data, {"nocloud", "configdrive"}),
    )
    for name, document, takers in documents:
        if document is not None and not flavours & takers:
            lint.warn("nobody_reads", name, f"no reader of {shown} takes it")


def _lint_one_context(spec: ContextSpec, variables: t.Mapping[str, str], lint: Lint) -> None:
    """What OpenNebula's one-context (6.x) does with variables that its users know."""
    if "opennebula" not in spec.flavours:
        return
    user = variables.get("USERNAME")
    sudo = variables.get("USERNAME_SUDO") or variables.get("GRANT_SUDO") or "YES"
    if user is not None and user == variables.get("PAYLOAD_USER") and sudo.upper() == "YES":
        detail = f"one-context lets {user} do everything by sudo, unless USERNAME_SUDO is NO"
        lint.breach("payload_user_refused", "variables.USERNAME", detail)
    if variables.get("REPORT_READY") == "YES":
        for name in sorted(variables):
            if re.search(r'[$`"\\]', variables[name]):
                lint.warn("value_expanded", f"variables.{name}", 'the value has one of the characters $ ` " \\')


def _lint_size(spec: ContextSpec, entries: t.Mapping[str, Entry], lint: Lint) -> None:
    size = sum(len(entry.octets) for entry in entries.values())
    if size > LARGEST:
        raise ContextError("content_too_large", f"The files have {size} octets together, and {LARGEST} are the most")
    if size > CLOUD_LIMIT and set(spec.flavours) - {"hepix", "amiconfig"}:
        lint.warn("larger_than_readers_take", "files", f"{size} octets, and cloud-init's readers look at 10 MB")
