"""Claims about networks: dormant units and gradients by depth, and training on digits."""

from __future__ import annotations

import numpy as np

from reference import mlf, tet
from reference.data import digits
from reference.mlf_network import dormant, gradient_profile
from validation.cases.claims import Measured, Run
from validation.cases.mlf.paper import F22, PAPER
from validation.cases.mlf.training import Recipe, network, shown, trained

SAMPLES = 32
#: Depth and epochs of training in the short form; 20 layers, tried first, came to 21 % only.
SHORT = (14, 2)
#: Depth, residual, levels.
Net = tuple[int, str, int]


def at_first(run: Run, net: Net, seed: int, norm: bool) -> tuple[np.ndarray, dict[str, float]]:
    """Norm of the gradient by block, and dormant units, of one network at initialisation."""
    recipe, train = Recipe(*net, seed), digits(seed).train
    run.tell(0.0, f"{recipe.name}{'' if norm else ', no norm'}")
    built, part = network(recipe, norm=norm), slice(SAMPLES)
    found = built.forward(shown(train, part))
    grad = tet.sdt(found.output, train.y[part])[1]
    return gradient_profile(built.backward(found, grad)), dormant(found)


def ratios(run: Run, net: Net, norm: bool) -> list[float]:
    """The first block's gradient over the last block's, of all seeds."""
    profiles = [run.once(at_first, net, seed, norm)[0] for seed in run.seeds]
    return [float(sizes[0] / sizes[-1]) for sizes in profiles]


def drawn(run: Run, name: str, nets: list[Net], norm: bool) -> None:
    """A figure of the gradient by block over the last block's, first seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0, 3.5), layout="constrained")
    axis = figure.subplots()
    for net in nets:
        sizes = run.once(at_first, net, run.seeds[0], norm)[0]
        place = np.linspace(0.0, 1.0, len(sizes))
        label = f"{net[1]}, K = {net[2]}, {net[0]} layers"
        axis.semilogy(place, sizes / sizes[-1], "-" if net[1] == "ds" else "--", label=label)
    axis.set(xlabel="place of the block, first to last", ylabel="gradient over the last block's")
    axis.legend(fontsize=7)
    run.save(figure, name)


@PAPER.claim(
    "M10",
    "more levels lower the share of dormant units",
    source=F22,
    expected="plain, depth 14, K = 3 against 1: at least 2 points at first, 4 after training",
)
def fewer_dormant(run: Run) -> Measured:
    """Instantaneous; the share of units that sleep through all steps falls far less."""
    shares = {
        k: [run.once(at_first, (14, "plain", k), seed, True)[1] for seed in run.seeds]
        for k in (1, 3)
    }
    pairs = list(zip(shares[1], shares[3], strict=True))
    gain = {
        name: 100.0 * float(np.mean([a[name] - b[name] for a, b in pairs]))
        for name in ("instantaneous", "window")
    }
    text = f"at first {gain['instantaneous']:.1f} (window {gain['window']:.1f})"
    good = gain["instantaneous"] >= 2.0
    if not run.quick:
        after = [run.once(trained, Recipe(14, "plain", k, 0))[1]["instantaneous"] for k in (1, 3)]
        text += f", trained {100 * (after[0] - after[1]):.1f} points"
        good = good and after[0] - after[1] >= 0.04
    return Measured(text, good)


@PAPER.claim(
    "M15",
    "without batch norm the gradient vanishes in deep plain networks, not in suppressed ones",
    source=F22,
    expected="first block's over last block's, depth 68, K = 1: plain < .1, DS in [.5, 4]",
)
def vanishing(run: Run) -> Measured:
    """Normal weights of variance 2 / fan-in; 14, 32 and 68 layers."""
    plain = {d: ratios(run, (d, "plain", 1), False) for d in (14, 32, 68)}
    early = {d: ratios(run, (d, "ds", 1), False) for d in (14, 32, 68)}
    text = "; ".join(
        f"{name} " + ", ".join(f"{d}: {np.mean(values):.3g}" for d, values in table.items())
        for name, table in (("plain", plain), ("DS", early))
    )
    nets = [(d, residual, 1) for residual in ("plain", "ds") for d in (14, 32, 68)]
    drawn(run, "mlf_gradients_without_norm", nets, False)
    kept = [value for values in early.values() for value in values]
    return Measured(text, max(plain[68]) < 0.1 and 0.5 <= min(kept) and max(kept) <= 4.0)


@PAPER.claim(
    "M16",
    "with batch norm nothing vanishes at first: gradients grow, those of plain networks far more",
    source=f"{F22}: vanishing; refuted",
    expected="depth 68, K = 3: plain > 8, DS < 8",
)
def growing(run: Run) -> Measured:
    """The same ratio."""
    nets = [(68, residual, 3) for residual in ("plain", "ds")]
    plain, early = (ratios(run, net, True) for net in nets)
    drawn(run, "mlf_gradients_with_norm", nets, True)
    text = "; ".join(", ".join(f"{v:.3g}" for v in values) for values in (plain, early))
    return Measured(f"plain {text.replace('; ', '; DS ')}", min(plain) > 8.0 and max(early) < 8.0)


@PAPER.claim(
    "M17",
    "deep plain networks do not learn; with several levels and suppressed blocks they do",
    source=F22,
    expected="digits, 44 layers, 3 epochs, every seed: plain, K = 1 <= 30 %; DS, K = 3 >= 55 %, "
    "35 more (quick: the same of 14 layers, 2 epochs)",
)
def depth(run: Run) -> Measured:
    """Every seed. The short form has the same bars for fewer layers."""
    recipes = [
        (Recipe(SHORT[0], "plain", 1, seed, SHORT[1]), Recipe(SHORT[0], "ds", 3, seed, SHORT[1]))
        if run.quick
        else (Recipe(44, "plain", 1, seed), Recipe(44, "ds", 3, seed))
        for seed in run.seeds
    ]
    right = np.array([[100.0 * run.once(trained, one)[0] for one in pair] for pair in recipes])
    text = ", ".join(f"{plain:.1f} and {early:.1f} %" for plain, early in right)
    means = right.mean(axis=0)
    text = f"{recipes[0][0].depth} layers: {text}; means {means[0]:.1f} and {means[1]:.1f} %"
    plain, early = right.T
    good = (plain <= 30.0) & (early >= 55.0) & (early - plain >= 35.0)
    return Measured(text, bool(good.all()))


@PAPER.claim(
    "M20",
    "suppressed blocks lower the share of dormant units",
    source=f"{F22}; refuted",
    expected="68 layers, batch norm, at first: DS not below plain, K = 1 and 3, every seed",
)
def no_fewer_dormant(run: Run) -> Measured:
    """Instantaneous; the shortcut has no unit that could be dormant, but none is dormant less."""
    texts, good = [], True
    for k in (1, 3):
        plain, early = (
            [run.once(at_first, (68, r, k), s, True)[1]["instantaneous"] for s in run.seeds]
            for r in ("plain", "ds")
        )
        good &= all(b >= a for a, b in zip(plain, early, strict=True))
        texts.append(f"K = {k}: plain {np.mean(plain):.3f}, DS {np.mean(early):.3f}")
    return Measured("; ".join(texts), good)


@PAPER.claim(
    "M18",
    "the published networks have few parameters",
    source=F22,
    expected="the counts of seven shapes: exact",
)
def counts(run: Run) -> Measured:
    """CIFAR-10 at five depths, DVS-Gesture, CIFAR10-DVS."""
    wanted = {14: 2777674, 20: 4327754, 32: 7427914, 44: 10528074, 68: 16728394}
    wrong = sum(mlf.parameter_count(depth=d, width=64) != n for d, n in wanted.items())
    wrong += mlf.parameter_count(depth=20, width=16, channels=2, classes=11) != 272395
    wrong += mlf.parameter_count(depth=14, width=32, channels=2) != 696330
    return Measured(f"{wrong} differ; depth 20: {wanted[20]}", wrong == 0)


@PAPER.claim(
    "M19",
    "accuracies of CIFAR-10, DVS-Gesture and CIFAR10-DVS",
    source=F22,
    expected="not measured",
)
def headline(run: Run) -> Measured:
    """Their data are out of reach here."""
    return Measured("no claim: these data sets are not at hand", None)
