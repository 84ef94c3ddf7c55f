# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many things in one call: a list whose items have the module's own options, and take what they leave out from it."""

from __future__ import annotations

import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from .._core.errors import SiteError
from .arguments import ArgumentSpec


def merged_items(
    params: t.Mapping[str, t.Any], arguments: ArgumentSpec, option: str, *, joined: t.Collection[str] = ()
) -> list[dict[str, t.Any]]:
    """The items of the list `option`, each with the module's options as defaults; the options themselves if it is None.

    Of an option in `joined` the keys of both mappings count. Raises SiteError ``option_invalid``.
    """
    common = {key: value for key, value in params.items() if key != option and value is not None}
    if params[option] is None:
        return [dict(params)]
    if params.get("dest") is not None:
        raise SiteError("option_invalid", f"dest belongs to the items where there is {option}.", option="dest")
    # Items are checked bare: defaults would hide what an item leaves out.
    bare = {key: {k: v for k, v in spec.items() if k != "default"} for key, spec in arguments.items() if key != option}
    validator = ArgumentSpecValidator(bare)
    return [_item(number, item, common, validator, option, joined) for number, item in enumerate(params[option])]


def _item(
    number: int,
    item: t.Mapping[str, t.Any],
    common: t.Mapping[str, t.Any],
    validator: ArgumentSpecValidator,
    option: str,
    joined: t.Collection[str],
) -> dict[str, t.Any]:
    validated = validator.validate(dict(item))
    if validated.error_messages:
        detail = f"{option}[{number}]: {validated.error_messages[0]}"
        raise SiteError("option_invalid", detail, option=f"{option}[{number}]")
    own = {key: value for key, value in validated.validated_parameters.items() if value is not None}
    both = {key: {**common[key], **_given(own[key])} for key in joined if key in common and key in own}
    return {**common, **own, **both}


def _given(options: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Without the suboptions that Ansible fills in as None."""
    return {key: value for key, value in options.items() if value is not None}


def checked(options: t.Mapping[str, t.Any], arguments: ArgumentSpec, where: str) -> dict[str, t.Any]:
    """Options of one level, of the types that they must have and with their defaults, those not given left out.

    Raises SiteError ``option_invalid``.
    """
    validated = ArgumentSpecValidator(arguments).validate(dict(options))
    if validated.error_messages:
        raise SiteError("option_invalid", f"{where}: {validated.error_messages[0]}", option=where)
    return {key: value for key, value in validated.validated_parameters.items() if value is not None}
