# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of one word per line: /etc/securetty, /etc/initramfs-tools/modules, /etc/modules."""

from __future__ import annotations

from .lines import Document


class Words(Document):
    """The first words of the lines that are no comments."""

    @property
    def words(self) -> tuple[str, ...]:
        """Every word, in order."""
        first = (text.split("#", 1)[0].split() for text in self.bodies)
        return tuple(words[0] for words in first if words)

    def with_words(self, *words: str) -> Words:
        """The file with those of `words` at its end that it does not have."""
        there = set(self.words)
        return self.inserted(len(self.lines), [word for word in words if word not in there])
