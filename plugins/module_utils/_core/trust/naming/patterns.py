# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Match names against regular expressions and globs in bounded time.

Python's `re` tries alternatives one after the other: a pattern such as ``(a*)*b`` or ``*a*a*a*b`` keeps it busy for
years. Here all alternatives go on side by side (Thompson 1968), so that a match takes at most states times characters.
Known are literals, ``.``, sets, groups, ``|``, the repetitions, ``^`` and ``$``; anything else is no pattern.
"""

from __future__ import annotations

import re
import typing as t

MAX_PATTERN: t.Final = 1024
MAX_NAME: t.Final = 2048
MAX_STATES: t.Final = 4096
MAX_GROUPS: t.Final = 16

_SET = re.compile(r"\[\^?\]?(?:\\.|[^\]\\\[])*\]", re.DOTALL)
_SET_OPERATORS = ("--", "&&", "~~", "||")
_COUNT = re.compile(r"\{(?!\})([0-9]{0,4})(,?)([0-9]{0,4})\}")
_CLASS_ESCAPES = "dDsSwW"

#: ("test", function) | ("begin",) | ("end",) | ("split", state, state) | ("jump", state); the last state is the goal
_State = tuple[t.Any, ...]
#: ("test", function) | ("begin",) | ("end",) | ("all", [node]) | ("any", [node]) | ("repeat", node, least, most)
_Node = tuple[t.Any, ...]


class PatternError(ValueError):
    """The text is no pattern that is known here."""


class Pattern:
    """A compiled pattern."""

    def __init__(self, node: _Node) -> None:
        self._states: list[_State] = []
        self._emit(node)

    def fullmatch(self, name: str) -> bool:
        """Whether the whole name matches; a name of more than `MAX_NAME` characters matches nothing."""
        if len(name) > MAX_NAME:
            return False
        goal = len(self._states)
        current = self._reached([0], begin=True, end=not name)
        for at, char in enumerate(name, 1):
            tests = [(number, self._states[number]) for number in current if number < goal]
            passed = [number + 1 for number, state in tests if state[0] == "test" and state[1](char)]
            current = self._reached(passed, begin=False, end=at == len(name))
            if not current:
                return False
        return goal in current

    def _reached(self, states: list[int], *, begin: bool, end: bool) -> set[int]:
        """The states that are reached from `states` without a further character."""
        goal = len(self._states)
        seen: set[int] = set()
        while states:
            number = states.pop()
            if number in seen:
                continue
            seen.add(number)
            if number == goal:
                continue
            state = self._states[number]
            if state[0] in ("split", "jump"):
                states.extend(state[1:])
            elif (state[0] == "begin" and begin) or (state[0] == "end" and end):
                states.append(number + 1)
        return seen

    def _add(self, *state: t.Any) -> int:
        if len(self._states) >= MAX_STATES:
            raise PatternError("it is too large")
        self._states.append(state)
        return len(self._states) - 1

    def _emit(self, node: _Node) -> None:
        kind = node[0]
        if kind == "all":
            for part in node[1]:
                self._emit(part)
        elif kind == "any":
            self._emit_any(node[1])
        elif kind == "repeat":
            self._emit_repeat(node[1], node[2], node[3])
        else:
            self._add(*node)

    def _emit_any(self, choices: t.Sequence[_Node]) -> None:
        ends = []
        for choice in choices[:-1]:
            split = self._add("split")
            self._emit(choice)
            ends.append(self._add("jump"))
            self._states[split] = ("split", split + 1, len(self._states))
        self._emit(choices[-1])
        for jump in ends:
            self._states[jump] = ("jump", len(self._states))

    def _emit_repeat(self, node: _Node, least: int, most: int | None) -> None:
        for _turn in range(least):
            self._add("jump", len(self._states) + 1)  # one state more: repeating nothing has an end, too
            self._emit(node)
        if most is None:
            split = self._add("split")
            self._emit(node)
            self._add("jump", split)
            self._states[split] = ("split", split + 1, len(self._states))
            return
        splits = []
        for _turn in range(most - least):
            splits.append(self._add("split"))
            self._emit(node)
        for split in splits:
            self._states[split] = ("split", split + 1, len(self._states))


def _any_character(_char: str) -> bool:
    return True


def glob(text: str) -> Pattern:
    """The pattern of a glob: ``*`` and ``?``, everything else literally. Raises `PatternError`."""
    if len(text) > MAX_PATTERN:
        raise PatternError("it is too long")
    anything: _Node = ("test", _any_character)
    wild = {"*": ("repeat", anything, 0, None), "?": anything}
    return Pattern(("all", [wild.get(char) or ("test", char.__eq__) for char in re.sub(r"\*+", "*", text)]))


def regular(text: str) -> Pattern:
    """The pattern of a regular expression. Raises `PatternError`."""
    if len(text) > MAX_PATTERN:
        raise PatternError("it is too long")
    parser = _Parser(text)
    node = parser.choice(0)
    if parser.at < len(text):
        raise PatternError("a parenthesis is not opened")
    return Pattern(node)


class _Parser:
    """Reads `text` from `at` on."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def _next(self) -> str:
        return self.text[self.at : self.at + 1]

    def choice(self, depth: int) -> _Node:
        choices = [self._sequence(depth)]
        while self._next() == "|":
            self.at += 1
            choices.append(self._sequence(depth))
        return ("any", choices)

    def _sequence(self, depth: int) -> _Node:
        parts = []
        while self._next() not in ("", "|", ")"):
            node = self._atom(depth)
            times = self._times()
            if times is not None:
                if node[0] in ("begin", "end"):
                    raise PatternError("an anchor is repeated")
                node = ("repeat", node, *times)
            parts.append(node)
        return ("all", parts)

    def _atom(self, depth: int) -> _Node:
        char = self._next()
        if char in "*+?" or _COUNT.match(self.text, self.at):
            raise PatternError("there is nothing to repeat")
        if char == "[":
            return self._set()
        self.at += 1
        if char == "(":
            return self._group(depth)
        if char == "\\":
            return self._escape()
        simple: dict[str, _Node] = {"^": ("begin",), "$": ("end",), ".": ("test", _any_character)}
        return simple.get(char, ("test", char.__eq__))

    def _group(self, depth: int) -> _Node:
        if depth >= MAX_GROUPS:
            raise PatternError("its groups are nested too deeply")
        if self._next() == "?":
            raise PatternError("an extension is used")
        node = self.choice(depth + 1)
        if self._next() != ")":
            raise PatternError("a parenthesis is not closed")
        self.at += 1
        return node

    def _escape(self) -> _Node:
        char = self._next()
        self.at += 1
        if char and char in _CLASS_ESCAPES:
            return ("test", re.compile(f"\\{char}", re.ASCII).fullmatch)
        if not char or char.isalnum() or not char.isascii():
            raise PatternError(f"the escape \\{char} is not known")
        return ("test", char.__eq__)

    def _set(self) -> _Node:
        found = _SET.match(self.text, self.at)
        if not found or any(operator in found[0] for operator in _SET_OPERATORS):
            raise PatternError("a set is not understood")
        self.at = found.end()
        try:
            return ("test", re.compile(found[0], re.ASCII | re.DOTALL).fullmatch)
        except (re.error, OverflowError) as error:
            raise PatternError(f"a set is not understood: {error}") from None

    def _times(self) -> tuple[int, int | None] | None:
        """(least, most; None without bound) of the repetition that follows, None when there is none."""
        char = self._next()
        count = _COUNT.match(self.text, self.at)
        times: tuple[int, int | None]
        if char and char in "*+?":
            times = {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
            self.at += 1
        elif count:
            least = int(count[1] or 0)
            times = (least, int(count[3]) if count[3] else None) if count[2] else (least, least)
            if times[1] is not None and times[1] < least:
                raise PatternError("a repetition ends before it begins")
            self.at = count.end()
        else:
            return None
        if self._next() == "?":  # as few as possible: for a whole match that makes no difference
            self.at += 1
        if self._next() and (self._next() in "*+?" or _COUNT.match(self.text, self.at)):
            raise PatternError("a repetition is repeated")
        return times
