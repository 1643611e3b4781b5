"""The estimator, its mean and its law: claims that hold for one neuron."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from scipy import integrate, stats

from reference import localzo
from reference.localzo_families import families, fast_sigmoid, sigmoid
from validation.cases.claims import Measured, Run
from validation.cases.localzo import pictures
from validation.cases.localzo.paper import BASELINE, DERIVED, PAPER, PUBLISHED

DELTA = 0.5


def quadrature(f, low: float, high: float) -> float:
    """An integral to about 1e-12."""
    return integrate.quad(f, low, high, epsabs=1e-13, epsrel=1e-12, limit=400)[0]


def step(v):
    """1 where v > 0."""
    return (v > 0.0).astype(float)


@PAPER.claim(
    "Z1",
    "the estimate is |z|/(2 delta) inside |v| < delta |z|, zero outside",
    source=PUBLISHED,
    expected="difference from the quotient of two steps: 0",
)
def quotient(run: Run) -> Measured:
    """Both ways at a million points."""
    rng = np.random.default_rng(0)
    v, z = rng.normal(0, 1, 1_000_000), rng.normal(0, 2, 1_000_000)
    two_steps = z * (step(v + DELTA * z) - step(v - DELTA * z)) / (2 * DELTA)
    worst = np.abs(localzo.estimate(v, z, DELTA) - two_steps).max()
    return Measured(f"{worst:g} ({np.mean(z < 0):.0%} of z negative)", worst == 0.0)


def rough(name_or_sampler, exact, v, n: int, seed: int) -> np.ndarray:
    """Error of a mean of `n` estimates at every v."""
    return localzo.surrogate(name_or_sampler, DELTA, draws=n, seed=seed)(v) - exact


@PAPER.claim(
    "Z2",
    "its mean is the closed form for normal, uniform and Laplace draws",
    source=PUBLISHED,
    expected="quadrature 1e-9; 1e6 draws 4e-3 of g(0); slope -0.5 +- 0.1",
)
def closed_forms(run: Run) -> Measured:
    """Quadrature, Monte Carlo, and how fast the latter converges."""
    grid, coarse = np.linspace(-2, 2, 401), np.linspace(-1, 1, 41)
    by_integral, by_draws, slopes, curves = 0.0, 0.0, [], {}
    numbers = [100, 1_000, 10_000, 100_000]
    for name, law in localzo.LAWS.items():
        g = localzo.surrogate(name, DELTA)
        for v in np.linspace(0, 0.8, 9):
            inside = quadrature(lambda z, f=law.density: z * f(z), v / DELTA, law.support)
            by_integral = max(by_integral, abs(g(v) - inside / DELTA))
        by_draws = max(by_draws, np.abs(rough(name, g(grid), grid, 1_000_000, 1)).max() / g(0.0))
        errors = [
            math.sqrt(np.mean([rough(name, g(coarse), coarse, n, s) ** 2 for s in range(20)]))
            for n in numbers
        ]
        slopes.append(np.polyfit(np.log(numbers), np.log(errors), 1)[0])
        curves[name] = errors
    pictures.convergence(run, numbers, curves)
    off = max(abs(slope + 0.5) for slope in slopes)
    text = f"{by_integral:.1e}; {by_draws:.1e}; slopes {', '.join(f'{s:.3f}' for s in slopes)}"
    return Measured(text, by_integral <= 1e-9 and by_draws <= 4e-3 and off <= 0.1)


@PAPER.claim(
    "Z3",
    "area E z^2, height E|z|/2 delta, even, falling with |v|",
    source=DERIVED,
    expected="random mixtures: 1e-8",
)
def shape(run: Run) -> Measured:
    """Mixtures of the three laws at random scales."""
    rng, worst, laws = np.random.default_rng(2), 0.0, list(localzo.LAWS.values())
    for _ in range(12):
        share, scale = rng.dirichlet(np.ones(3)), rng.uniform(0.3, 3.0, 3)

        def g(v, share=share, scale=scale):
            parts = zip(share, scale, laws, strict=True)
            return sum(w * s * law.first(np.abs(v) / (DELTA * s)) for w, s, law in parts) / (
                2 * DELTA
            )

        corner = DELTA * math.sqrt(3.0) * scale[1]
        area = 2 * (quadrature(g, 0.0, corner) + quadrature(g, corner, 60.0))
        first = sum(w * s * law.first(0.0) for w, s, law in zip(share, scale, laws, strict=True))
        v = np.linspace(0.0, 8.0, 300)
        worst = max(worst, abs(area / np.sum(share * scale**2) - 1))
        worst = max(worst, abs(g(0.0) * 2 * DELTA / first - 1), np.abs(g(v) - g(-v)).max())
        worst = max(worst, np.diff(g(v)).max())
    return Measured(f"{worst:.1e}", worst <= 1e-8)


@PAPER.claim(
    "Z4",
    "every falling surrogate has a law behind it: seven of them",
    source=PUBLISHED + ", generalised",
    expected="mass 1, mean g and c to 1e-8; samplers: KS p > 0.01",
)
def laws_behind(run: Run) -> Measured:
    """Closed forms against quadrature, the numerical inverse against closed forms."""
    rng, worst, least = np.random.default_rng(4), 0.0, 1.0
    for family in families(DELTA):
        found = localzo.inverse(family.derivative, DELTA, family.alpha)
        worst = max(worst, abs(found.c / family.c - 1))
        if family.density is not None:
            mass = quadrature(family.density, 0.0, min(1.0, family.end))
            mass += quadrature(family.density, min(1.0, family.end), family.end)
            worst = max(worst, abs(mass - 1))
        for v in (0.05, 0.3, 0.6, 1.2):
            worst = max(worst, abs(family.mean_above(v / DELTA) - family.derivative(v)))
        if family.cdf is not None and family.sample is not None:
            least = min(least, stats.kstest(np.abs(found.sample(rng, 50_000)), family.cdf).pvalue)
            least = min(least, stats.kstest(family.sample(rng, 50_000), found.cdf).pvalue)
    chosen = [f for f in families(DELTA) if f.alpha >= 0]
    pictures.families(run, [(f.name, f.derivative, f.density) for f in chosen])
    return Measured(f"{worst:.1e}; p {least:.3f}", worst <= 1e-8 and least > 0.01)


@PAPER.claim(
    "Z5",
    "from a law to its surrogate and back",
    source=PUBLISHED,
    expected="distribution functions within 1e-6, c = 1",
)
def round_trip(run: Run) -> Measured:
    """The three laws, through both directions."""
    worst, z = 0.0, np.linspace(0.01, 4.0, 400)
    for name, law in localzo.LAWS.items():
        found = localzo.inverse(localzo.surrogate(name, DELTA), DELTA)
        worst = max(worst, abs(found.c - 1), np.abs(found.cdf(z) - 1 + law.survival(z)).max())
    return Measured(f"{worst:.1e}", worst <= 1e-6)


@PAPER.claim(
    "Z6",
    "at a cusp the two-point estimator has no law: its constant diverges",
    source=DERIVED,
    expected="increments over 2k ln 100 within 5 % of 1; refused",
)
def cusp(run: Run) -> Measured:
    """The fast sigmoid, its integral cut at ever smaller z."""
    k, cuts = 10.0, [1e-4, 1e-6, 1e-8]
    parts = [
        quadrature(
            lambda u: 2 * k / (1 + k * DELTA * np.exp(u)) ** 3, math.log(low), math.log(high)
        )
        for high, low in pairwise(cuts)
    ]
    ratios = [part / (2 * k * math.log(100.0)) for part in parts]
    try:
        localzo.inverse(fast_sigmoid(DELTA, 0).derivative, DELTA, 1.0)
        refused = False
    except ValueError:
        refused = True
    text = f"{', '.join(f'{r:.4f}' for r in ratios)}; {'refused' if refused else 'accepted'}"
    return Measured(text, refused and all(abs(r - 1) <= 0.05 for r in ratios))


@PAPER.claim(
    "Z7",
    "second moment and active probability in closed form",
    source=DERIVED,
    expected="Monte Carlo within 1 %",
)
def moments(run: Run) -> Measured:
    """Four million draws a law."""
    rng, worst = np.random.default_rng(6), 0.0
    for law in localzo.LAWS.values():
        z = law.sample(rng, 4_000_000)
        for v in (0.0, 0.25, 0.5, 0.8):
            found = localzo.estimate(v, z, DELTA)
            second = law.second(v / DELTA) / (4 * DELTA**2)
            worst = max(worst, abs(np.mean(found**2) / second - 1))
            worst = max(worst, abs(np.mean(found > 0) / law.survival(v / DELTA) - 1))
    return Measured(f"{worst:.2%}", worst <= 0.01)


@PAPER.claim(
    "Z8",
    "m draws: variance over m, window delta E max|z|",
    source=DERIVED,
    expected=".7979 .7071 .8660 .7659 (1e-3); 1.57 1.615 1.443 (5e-3)",
)
def several_draws(run: Run) -> Measured:
    """Monte Carlo of the largest of m draws, and of the variance of their mean."""
    rng = np.random.default_rng(7)
    unit = localzo.inverse(sigmoid(1.0, 1.531628).derivative, 1.0)
    wanted = {"normal": (0.7979, 1.5702), "laplace": (0.7071, 1.6146), "uniform": (0.8660, 1.4434)}
    one, five, spread = [], [], 0.0
    for name, (single, several) in wanted.items():
        law = localzo.LAWS[name]
        means, largest = [], []
        for _ in range(2):  # ten million draws: 1e-3 is four deviations of their mean
            z = np.abs(law.sample(rng, (1_000_000, 5)))
            means.append(z.mean())
            largest.append(z.max(axis=1).mean())
        one += [abs(np.mean(means) - single), abs(law.mean_max(1) - single)]
        five += [abs(np.mean(largest) - several), abs(law.mean_max(5) - several)]
        mean = localzo.estimate(0.2, z, DELTA).mean(axis=1)
        spread = max(spread, abs(mean.var() / localzo.variance(law, 0.2, DELTA, 5) - 1))
    one += [abs(np.abs(unit.sample(rng, 4_000_000)).mean() - 0.7659), abs(unit.moment(1) - 0.7659)]
    text = f"{max(one):.1e}, {max(five):.1e}; variance off by {spread:.2%}"
    return Measured(text, max(one) <= 1e-3 and max(five) <= 5e-3 and spread <= 0.01)


@PAPER.claim(
    "Z15",
    "the threshold of sparse spiking gradient descent with an equal window",
    source=BASELINE,
    expected="1 - B_th = delta E max|z|: constants of Z8, 1e-3",
)
def equal_window(run: Run) -> Measured:
    """Against means of windows that were drawn."""
    rng, worst, delta = np.random.default_rng(15), 0.0, 0.05
    for law in localzo.LAWS.values():
        for draws in (1, 5):
            window = delta * np.abs(law.sample(rng, (1_000_000, draws))).max(axis=1)
            off = (1.0 - localzo.threshold(law, delta, draws)) - window.mean()
            worst = max(worst, abs(off) / delta)
    heavy = localzo.inverse(fast_sigmoid(delta, -1).derivative, delta, -1.0)
    try:
        localzo.threshold(heavy, delta)
        refused = False
    except ValueError:
        refused = True
    text = f"{worst:.1e} of delta; a law without a mean is {'refused' if refused else 'accepted'}"
    return Measured(text, worst <= 1e-3 and refused)
