# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""modprobe.conf(5) and the files of modprobe.d."""

from __future__ import annotations

import re

from .lines import Document


class Modprobe(Document):
    """The lines of a modprobe file."""

    def aliases(self, pattern: str) -> tuple[tuple[int, str, str], ...]:
        """Line number, alias and module of every alias whose name matches `pattern` as a whole."""
        found: list[tuple[int, str, str]] = []
        for number, text in enumerate(self.bodies):
            words = text.split("#", 1)[0].split()
            if len(words) == 3 and words[0] == "alias" and re.fullmatch(pattern, words[1]):
                found.append((number, words[1], words[2]))
        return tuple(found)

    def without_aliases(self, pattern: str) -> Modprobe:
        """The file without those aliases."""
        return self.without({number for number, _alias, _module in self.aliases(pattern)})
