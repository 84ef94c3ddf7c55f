# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sixteen steps of a verification, recorded as they are taken, so that a verdict can be explained."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from ..errors import TrustError, VmimagesError

#: number -> title, in the order in which they are taken; 1 to 10 are trust's, 11 to 16 are the image list's.
TITLES: t.Final[t.Mapping[int, str]] = {
    1: "size of the message",
    2: "MIME structure",
    3: "CMS structure and algorithms",
    4: "message digest",
    5: "signature",
    6: "end-entity certificate",
    7: "certification path",
    8: "revocation",
    9: "namespaces",
    10: "names unambiguous",
    11: "strict JSON",
    12: "endorser is the signer",
    13: "signer authorised",
    14: "list identifier",
    15: "dates of the list",
    16: "version of the list",
}

Outcome = t.Literal["passed", "refused", "not asked", "not reached"]


@dataclasses.dataclass(frozen=True)
class Step:
    """One step and its outcome; `code` and `detail` as in the refusal, or what was found when it passed.

    "not asked": the caller had nothing to compare with; `detail` says what.
    """

    number: int
    title: str
    outcome: Outcome
    code: str | None
    detail: str

    def as_dict(self) -> dict[str, t.Any]:
        """The step for JSON output."""
        return dataclasses.asdict(self)


class Explanation:
    """Records each step's outcome; hand one to `verify_message` (and `check_list`) and read `steps()` afterwards."""

    def __init__(self) -> None:
        self._taken: list[Step] = []

    @contextlib.contextmanager
    def step(self, number: int) -> t.Iterator[t.Callable[[str], None]]:
        """Take step `number`; the yielded function notes what was found.

        A refusal is recorded and goes on, with the step in its context.
        """
        notes: list[str] = []
        try:
            yield notes.append
        except VmimagesError as refusal:
            self._taken.append(Step(number, TITLES[number], "refused", refusal.code, refusal.detail))
            refusal.context.setdefault("step", {"number": number, "title": TITLES[number]})
            raise
        except BaseException as error:  # a panic of the compiled library is no Exception
            self._taken.append(Step(number, TITLES[number], "refused", "internal_error", type(error).__name__))
            raise
        self._taken.append(Step(number, TITLES[number], "passed", None, "; ".join(notes)))

    def not_asked(self, number: int, why: str) -> None:
        """Pass over step `number`, which proves nothing then."""
        self._taken.append(Step(number, TITLES[number], "not asked", None, why))

    @property
    def begun(self) -> bool:
        """Whether any step was taken."""
        return bool(self._taken)

    def refused(self) -> Step | None:
        """The step at which the message was refused, if it was."""
        return next((step for step in self._taken if step.outcome == "refused"), None)

    def steps(self) -> tuple[Step, ...]:
        """All sixteen steps; those that were not taken are "not reached"."""
        taken = {step.number: step for step in self._taken}
        return tuple(
            taken.get(number, Step(number, title, "not reached", None, "")) for number, title in TITLES.items()
        )


@contextlib.contextmanager
def refuse_unexpected() -> t.Iterator[None]:
    """Turn any exception that is no refusal into one: the unforeseen never ends in an acceptance."""
    try:
        yield
    except VmimagesError:
        raise
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise TrustError("internal_error", f"An unexpected {type(error).__name__} stopped the verification") from error
