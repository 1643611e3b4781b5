"""Planted defects, and how they are judged: the layer, the cause, and no false alarm.

A case is a kind of defect and a number; everything else is drawn from these two. A case whose
defect changes nothing that was recorded is drawn anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np

from validation import verify
from validation.evtrace_reader import Recording
from validation.faults import files, live, otherwise
from validation.faults.bodies import OF_UPDATES
from validation.faults.drawn import FRAMEWORKS, Drawn, draw
from validation.result import PASSING

#: Kinds for which there is no switch: no cause must be named.
UNLISTED = ("refractory", "saturation", "noise", "rounded", "events_lost", "neurons_swapped")
KINDS = (
    *OF_UPDATES,
    *live.OF_SUMS,
    *live.OF_GRADIENTS,
    *files.OF_GRAPHS,
    *files.OF_RECORDINGS,
)
#: Names of the same switch: a cause that says so is right.
ALIKE = {"ignored:v_threshold": {"ignored:v_th"}, "ignored:tau": {"ignored:tau_mem_inv"}}
#: What a defect has to change to count as one.
LEAST = 1e-3
TRIES = 40


@dataclass(frozen=True)
class Answer:
    """What was planted, and what was found."""

    kind: str
    framework: str
    layer: str  #: that is wrong
    named: list[str]  #: layers that were called wrong
    cause: list[str]
    also: list[str]

    @property
    def layer_right(self) -> bool:
        """Whether the wrong layer was called wrong, and no other."""
        return self.named == [self.layer]

    @property
    def cause_right(self) -> bool:
        """Whether the defect was named, alone or among those that would explain it alone."""
        if self.kind in UNLISTED:
            return not self.cause
        right = {self.kind} | ALIKE.get(self.kind, set())
        return len(self.cause) == 1 and bool(right & {*self.cause, *self.also})

    @property
    def tie(self) -> bool:
        """Whether the recording does not tell the defect from another."""
        return bool(self.also)


def case(kind: str, number: int, *, frameworks: bool = True) -> Answer:
    """Plant a defect of some kind, verify what was recorded, and say what was found.

    Without frameworks only the kinds of `OF_UPDATES` can be planted, into networks that NumPy runs.
    """
    for trial in range(TRIES):
        rng = np.random.default_rng([crc32(kind.encode()), number, trial])
        net = _network(kind, rng)
        right, wrong = _pair(kind, net, frameworks)
        layer = right.layers()[net.target]
        if changed(right, wrong, layer):
            return _answer(kind, net.framework, layer, wrong)
    raise RuntimeError(f"case {number} of {kind!r}: no network in which it shows")


def _network(kind: str, rng: np.random.Generator) -> Drawn:
    known: tuple[str, ...] = FRAMEWORKS
    if kind in live.OF_GRADIENTS:
        known = ("snntorch", "spikingjelly")
    elif kind in files.OF_GRAPHS:
        known = ("norse",)
    square = kind in ("weight_transpose", "node_dropped")
    framework = str(rng.choice(known))
    return draw(framework, rng, square=square, hits="binary" if kind == "compare" else "")


def _pair(kind: str, net: Drawn, frameworks: bool) -> tuple[Recording, Recording]:
    """The recording as it should be, and with the defect."""
    if kind in files.OF_GRAPHS:
        state = net.rng.bit_generator.state
        right = files.travelled(net)
        net.rng.bit_generator.state = state
        return right, files.travelled(net, kind)
    if kind in files.OF_RECORDINGS:
        right = live.recorded(net) if frameworks else otherwise.recorded(net)
        return right, files.rewritten(right, right.layers()[net.target], kind, net.rng)
    if frameworks:
        right = live.recorded(net)
        return right, live.recorded(net, kind)
    return otherwise.recorded(net), otherwise.recorded(net, "plain", kind)


def changed(right: Recording, wrong: Recording, layer: str) -> bool:
    """Whether the layer's recorded numbers differ by more than rounding, and it fires at all."""
    before, after = (recording.layer(layer).spikes() for recording in (right, wrong))
    if before is None or after is None or not (before.any() and after.any()):
        return False
    differs = not np.array_equal(before, after)
    for name in ("input_current", "membrane", "grad_input_current"):
        a, b = (recording.layer(layer).get(name) for recording in (right, wrong))
        if a is not None and b is not None:
            off = np.abs(a.astype(float) - b.astype(float))
            size = max(float(np.abs(a).max()), float(np.abs(b).max()), 1e-30)
            differs = differs or bool(off.max() > LEAST * size)
    return differs


def _answer(kind: str, framework: str, layer: str, recording: Recording) -> Answer:
    result = verify.verify(recording)
    bad = [found for found in result.layers if found.verdict == "mismatch"]
    mine = next((found for found in bad if found.name == layer), None)
    cause, also = ([], []) if mine is None else (mine.cause, mine.also)
    return Answer(kind, framework, layer, [found.name for found in bad], cause, also)


@dataclass(frozen=True)
class Clean:
    """A right recording: layers that were called wrong, and spikes decided by rounding."""

    made_by: str
    named: list[str]
    reasons: list[str]
    ties: int


def clean(number: int, *, frameworks: bool = True) -> Clean:
    """Verify a recording that is right; every second one of another program's roundings."""
    rng = np.random.default_rng([1, number])
    framework = str(rng.choice(FRAMEWORKS))
    if frameworks and number % 2 == 0:
        net = draw(framework, rng, hits=str(rng.choice(["", "binary", "decimal"])))
        recording, made_by = live.recorded(net), framework
    else:
        net = draw(framework, rng, hits=str(rng.choice(["", "decimal", "decimal"])))
        made_by = str(rng.choice(otherwise.ARITHMETICS, p=[0.1, 0.3, 0.3, 0.3]))
        recording = otherwise.recorded(net, made_by)
    result = verify.verify(recording)
    bad = [layer for layer in result.layers if layer.verdict not in PASSING]
    ties = sum(check.n_ties for layer in result.layers for check in layer.checks)
    return Clean(made_by, [b.name for b in bad], [b.reason for b in bad], ties)


HERE = Path(__file__).parent
#: What judges, and what is judged.
SOURCES = (
    "causes",
    "conform/misreadings",
    "conform/search",
    "currents",
    "declared",
    "discrete",
    "flips",
    "gradients",
    "model",
    "rounding",
    "twin",
    "verify",
)


def digest(more: Iterable[Path] = ()) -> str:
    """Of everything whose change would make the answers stale."""
    key = hashlib.sha256()
    for path in (*sorted(HERE.glob("*.py")), *(HERE.parent / f"{s}.py" for s in SOURCES), *more):
        key.update(path.name.encode() + path.read_bytes())
    return key.hexdigest()[:16]
