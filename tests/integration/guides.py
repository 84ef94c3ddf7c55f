# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guides as a newcomer carries them out: every block of the class `run`, in its order, in one shell."""

from __future__ import annotations

import re
import subprocess
import typing as t
from dataclasses import dataclass
from pathlib import Path

DIRECTIVE = re.compile(r"\.\. code-block:: (\w+)\n((?:   :.*\n)*)\n((?:   .*\n|\n)+)")
MARK = "@@guide"


@dataclass(frozen=True)
class Command:
    """What the reader types, and the lines that the guide shows below it."""

    text: str
    shown: tuple[str, ...] = ()
    #: Whether it ends in an error, as the next command (`echo $?`) shows.
    fails: bool = False


@dataclass(frozen=True)
class Answer:
    """What came of a command: its exit code, and its standard output."""

    status: int
    lines: tuple[str, ...]


def commands(page: str) -> list[Command]:
    """What the page (reStructuredText) has a reader do. A block with a caption is a file that the reader writes."""
    found: list[Command] = []
    for language, options, body in DIRECTIVE.findall(page):
        if "   :class: run\n" not in options:
            continue
        lines = [line[3:] for line in body.rstrip("\n").split("\n")]
        caption = re.search(r"   :caption: (.*)\n", options)
        if caption is not None:
            found.append(Command("\n".join([f"cat >{caption[1]} <<'{MARK}'", *lines, MARK])))
        elif language == "console":
            found += typed(lines)
        else:
            raise ValueError(f"a block of {language} without a caption")
    return [
        Command(each.text, each.shown, fails=following is not None and following.text == "echo $?")
        for each, following in zip(found, [*found[1:], None])
    ]


def typed(lines: t.Sequence[str]) -> t.Iterator[Command]:
    """The commands of one block, each with what is shown below it."""
    text: list[str] = []
    shown: list[str] = []
    for line in lines:
        if line.startswith("$ "):
            if text:
                yield Command("\n".join(text), tuple(shown))
            text, shown = [line[2:]], []
        elif not shown and text and text[-1].endswith("\\"):
            text.append(line)
        elif text:
            shown.append(line)
        else:
            raise ValueError(f"output without a command: {line}")
    yield Command("\n".join(text), tuple(shown))


def run(
    found: t.Sequence[Command], directory: Path, environment: t.Mapping[str, str], *, timeout: float
) -> tuple[list[Answer], str]:
    """Type the commands one after the other; the answers, and all that went to standard error."""
    script = ["said=0"]
    for number, command in enumerate(found):
        script += [f"echo '{MARK} {number}'", "(exit $said)", command.text, f'said=$?; echo "{MARK} end $said"']
    done = subprocess.run(
        ["/bin/bash"],
        input="\n".join(script) + "\n",
        check=False,
        text=True,
        capture_output=True,
        cwd=directory,
        env=dict(environment),
        timeout=timeout,
    )
    answers = [
        Answer(int(status), tuple(said.split("\n")[:-1]))
        for said, status in re.findall(rf"^{MARK} \d+\n(.*?)^{MARK} end (\d+)$", done.stdout, re.DOTALL | re.MULTILINE)
    ]
    return answers, done.stderr


def agrees(shown: t.Sequence[str], said: t.Sequence[str]) -> bool:
    """Whether `said` is what is shown; a line of three dots stands for any lines, and three dots for any text.

    Blanks at the end of a line and empty lines at the end do not count.
    """
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "..." else r".*".join(map(re.escape, line.rstrip().split("..."))) + r"[ ]*\n"
        for line in shown
    )
    return re.fullmatch(pattern + r"\n*", "".join(f"{line}\n" for line in said)) is not None
