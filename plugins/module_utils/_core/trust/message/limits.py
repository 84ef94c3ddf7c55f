# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of a message is read, for those who fetch one without reading it."""

from __future__ import annotations

import typing as t

#: Octets of a whole message.
MAX_MESSAGE: t.Final = 8 * 1024 * 1024
