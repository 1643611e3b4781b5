"""What the width of a surrogate does to the gradient of a deep stack, measured and predicted.

Digits as a constant current, 40 plain layers of 256 neurons, 20 steps, a random gradient at the
last spikes that is the same at all steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from reference import data, mean_field, stack, surrogates
from reference.resnet import SpikingResNet, random_state
from validation.cases.claims import Measured, Run
from validation.cases.surrogate import figures
from validation.cases.surrogate.paper import L20, PAPER

#: Where gradients of this network keep their size.
STABLE = 3.34
WIDTHS = (1.0, 2.0, STABLE, 5.0, 10.0, 30.0, 100.0)


@dataclass(frozen=True)
class Setup:
    """One network.

    Attributes
    ----------
    gain : float
        Standard deviation of the weights times the root of their number; without batch norm it
        is what drives the currents.
    """

    beta: float = 0.9
    reset: str = "soft"
    depth: int = 40
    n_steps: int = 20
    batch_norm: bool = True
    gain: float = 1.0
    width: int = 256
    batch: int = 64
    seed: int = 0


@dataclass
class Ran:
    """A network that ran, with the gradient to send back."""

    setup: Setup
    net: stack.Stack
    run: stack.StackRun
    gradient: np.ndarray

    def profile(self, g, detach: bool = True) -> np.ndarray:
        """`Stack.profile` for a surrogate."""
        return self.net.profile(self.run, self.gradient, g, detach=detach)

    def gain(self, g, detach: bool = True) -> float:
        """Geometric mean of the gains of the layers."""
        return stack.gain(self.profile(g, detach))

    def rates(self) -> np.ndarray:
        """Share of ones among the spikes of each layer."""
        return np.array([layer.spikes.mean() for layer in self.run.layers])


def ran(setup: Setup) -> Ran:
    """Initialise and run a network, in float32: what is asked of it are ratios of norms."""
    rng = np.random.default_rng(setup.seed)
    images = data.digits(setup.seed).train.x[: setup.batch].astype(np.float32)
    sizes = [images.shape[1], *[setup.width] * setup.depth]
    params = stack.initial(
        rng, sizes, gain=setup.gain, batch_norm=setup.batch_norm, dtype=np.float32
    )
    net = stack.Stack(params, beta=setup.beta, reset=setup.reset, compare=">")
    done = net.forward(np.broadcast_to(images, (setup.n_steps, *images.shape)))
    gradient = rng.standard_normal((setup.batch, setup.width)).astype(np.float32)
    shape = (setup.n_steps, *gradient.shape)
    return Ran(setup, net, done, np.broadcast_to(gradient, shape))


def height(a: float) -> surrogates.Surrogate:
    """1 / (1 + a|v|)²: height 1 whatever its width."""
    return surrogates.get("snntorch.fast_sigmoid", slope=a)


def area(a: float) -> surrogates.Surrogate:
    """(a/2) / (1 + a|v|)²: area 1 whatever its width."""
    return surrogates.get("spikingjelly.SoftSign", alpha=a)


def tuned(run: Ran, shape: Callable = height, *, detach: bool = True) -> float:
    """Width parameter at which a layer neither amplifies nor damps."""
    return stack.tune(lambda a: run.gain(shape(a), detach), 0.5, 20.0, rtol=1e-3)


@dataclass
class Sweep:
    """Gains of one network over the widths, its profiles, and its tuned width."""

    gains: dict[float, float] = field(default_factory=dict)
    profiles: dict[float, np.ndarray] = field(default_factory=dict)
    rates: np.ndarray = field(default_factory=lambda: np.empty(0))
    star: float = np.nan

    def grown(self, a: float) -> float:
        """Decimal logarithm of the norm at the first spikes over that at the last."""
        size = stack.total(self.profiles[a])
        return float((size[0] - size[-1]) / np.log(10.0))


def sweep(
    run: Run, setup: Setup, detach: bool, widths: tuple[float, ...], tune: bool, shape: str
) -> Sweep:
    """Everything that is asked of one network; the network itself is not kept."""
    done, make, found = ran(setup), {"height": height, "area": area}[shape], Sweep()
    for k, a in enumerate(widths):
        run.tell(k / (len(widths) + 8 * tune))
        found.profiles[a] = done.profile(make(a), detach)
        found.gains[a] = stack.gain(found.profiles[a])
    found.rates = done.rates()
    found.star = tuned(done, make, detach=detach) if tune else np.nan
    return found


def _standard(run: Run) -> Sweep:
    return run.once(sweep, Setup(), True, WIDTHS, True, "height")


def _near(value: float, wanted: float, share: float = 0.1) -> bool:
    return abs(value - wanted) <= share * wanted


@PAPER.claim(
    "S4",
    "with a surrogate of fixed height, a wide one makes gradients explode and a narrow one vanish",
    source=f"{L20} (qualitative); figures of beta = 0.9, soft reset, detached",
    expected="gain 2.10, 1.0, 0.124 at a = 1, 3.34, 100, each +-10 %; log10 of the norm after 40 "
    "layers 13.6 +- 1.5, 0 +- 1, -34.8 +- 1.5",
)
def _width_decides(run: Run) -> Measured:
    found = _standard(run)
    figures.save_widths(run, found)
    figures.save_resnets(run, {name: resnet_norms(run, name) for name in RESNETS})
    expected = {1.0: (2.10, 13.6, 1.5), STABLE: (1.0, 0.0, 1.0), 100.0: (0.124, -34.8, 1.5)}
    holds, words = True, []
    for a, (gain, grown, slack) in expected.items():
        holds &= _near(found.gains[a], gain) and abs(found.grown(a) - grown) <= slack
        words.append(f"a = {a:g}: gain {found.gains[a]:.3f}, 10^{found.grown(a):.1f}")
    return Measured("; ".join(words), bool(holds))


#: Blocks and stages of the published networks.
RESNETS = {"ResNet-18": ("basic", (2, 2, 2, 2)), "ResNet-50": ("bottleneck", (3, 4, 6, 3))}


def resnet_norms(run: Run, name: str) -> dict[float, np.ndarray]:
    """Norms of dL/dI by layer and time of an untrained spiking ResNet, by the width.

    Digits on 32 x 32 pixels, four steps, a gradient that is the same at all steps.
    """
    rng = np.random.default_rng(7)
    (block, stages), width = RESNETS[name], 16 if run.quick else 64
    state = random_state(rng, layers=stages, block=block, width=width, channels=1)
    state = {key: value.astype(np.float32) for key, value in state.items()}
    images = np.kron(data.digits().train.x[:8].reshape(8, 1, 8, 8), np.ones((4, 4)))
    x = np.broadcast_to(images, (4, *images.shape))
    gradient = np.broadcast_to(rng.standard_normal((8, 10)), (4, 8, 10))
    found = {}
    for a in (1.0, 5.0, 25.0):
        surrogate = ("snntorch.fast_sigmoid", {"slope": a})
        net = SpikingResNet(
            state, layers=stages, block=block, beta=0.5, detach=True, surrogate=surrogate
        )
        done = net.forward(x)
        currents = net.backward(done, gradient).currents
        squares = [np.sum(currents[key].astype(float) ** 2, axis=(1, 2, 3, 4))
                   for key in done.spikes]  # fmt: skip
        found[a] = np.sqrt(np.array(squares))
    return found


@PAPER.claim(
    "S5",
    "there is a width at which gradients keep their size, and it depends on the number of steps",
    source=f"{L20} (tuned); its value for this network: bisection on gain 1",
    expected="a* = 3.34 at 40 layers and 20 steps; 1.48, 2.17, 3.37, 5.25 at 25 layers and 5, 10, "
    "20, 40 steps; each +-10 %",
)
def _stable_width(run: Run) -> Measured:
    stars, wanted = {"40 layers": _standard(run).star}, {"40 layers": 3.34}
    steps = {5: 1.48, 10: 2.17, 20: 3.37, 40: 5.25}
    for n_steps, star in steps.items():
        setup = Setup(depth=25, n_steps=n_steps)
        stars[f"T = {n_steps}"] = run.once(sweep, setup, True, (), True, "height").star
        wanted[f"T = {n_steps}"] = star
    text = ", ".join(f"{name}: {star:.2f}" for name, star in stars.items())
    return Measured(text, all(_near(stars[name], wanted[name]) for name in stars))


@PAPER.claim(
    "S6",
    "with a surrogate of fixed area it is the narrow one that makes gradients explode",
    source="second moment of (a/2) / (1 + a|v|)²",
    expected="gain above 5 at a = 100, and rising with a",
)
def _area_reverses(run: Run) -> Measured:
    widths = (1.0, 10.0, 100.0)
    found = run.once(sweep, Setup(), True, widths, False, "area").gains
    text = ", ".join(f"a = {a:g}: {found[a]:.2f}" for a in widths)
    return Measured(text, found[100.0] > 5 and found[1.0] < found[10.0] < found[100.0])


@PAPER.claim(
    "S7",
    "the path through the reset damps the gradient, or amplifies it where the membrane overshoots",
    source="reference.bptt, equation 3, attached and detached",
    expected="a* = 1.64 attached against 3.34 detached (soft reset), +-10 %; gain above 5 at "
    "a = 0.5 for beta = 1, hard reset, attached",
)
def _reset_path(run: Run) -> Measured:
    attached = run.once(sweep, Setup(), False, WIDTHS, True, "height")
    widths = (0.5,) if run.quick else (0.25, 0.5, 1.0)
    hard, cut = (
        run.once(sweep, Setup(beta=1.0, reset="hard"), detach, widths, False, "height").gains
        for detach in (False, True)
    )
    figures.save_reset(run, _standard(run), attached)
    text = (
        f"a* = {attached.star:.2f} attached, {_standard(run).star:.2f} detached; "
        f"hard, beta = 1, gain attached, detached: "
        + ", ".join(f"a = {a:g}: {hard[a]:.3g}, {cut[a]:.3g}" for a in widths)
    )
    holds = _near(attached.star, 1.64) and _near(_standard(run).star, 3.34)
    return Measured(text, holds and hard[0.5] > 5)


@PAPER.claim(
    "S8",
    "batch norm on the currents keeps a deep stack active; without it activity dies out",
    source=f"{L20} (qualitative)",
    expected="rate at layer 20 below 0.01 without, 0.22 +- 0.02 with batch norm",
)
def _activity(run: Run) -> Measured:
    dying = {
        gain: run.once(sweep, Setup(batch_norm=False, gain=gain), True, widths, False, "height")
        for gain, widths in ((1.0, (0.3, 1.0)), (1.5, ()), (2.0, ()), (3.0, ()))
        if not run.quick or gain in (1.0, 2.0)
    }
    without = {gain: found.rates for gain, found in dying.items()}
    with_norm = _standard(run).rates
    figures.save_activity(run, with_norm, without)
    grown = ", ".join(f"10^{dying[1.0].grown(a):.1f} at a = {a:g}" for a in (0.3, 1.0))
    text = (
        f"{without[1.0][19]:.4f} without (weight gain 1), {with_norm[19]:.3f} with; without, the "
        f"norm grows by {grown}"
    )
    return Measured(text, bool(without[1.0][19] < 0.01 and abs(with_norm[19] - 0.22) <= 0.02))


@PAPER.claim(
    "S11",
    "a mean field predicts the gain: the gradient as noise, independent in time",
    source="reference.mean_field, equation 2 for independent steps; equation 1 in general",
    expected="equation 2 within 10 % at beta = 0.5 and a = 5, 10, 30, 100; equation 1 for "
    "comparison",
)
def _mean_field(run: Run) -> Measured:
    widths = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 100.0)
    betas = (0.5,) if run.quick else (0.5, 0.9)
    found = {beta: run.once(predicted, beta, widths) for beta in betas}
    figures.save_mean_field(run, found)

    def off(beta: float, k: int, some=widths[3:]) -> list[float]:
        return [found[beta][a][k] / found[beta][a][0] - 1.0 for a in some]

    def listed(values: list[float]) -> str:
        return ", ".join(f"{100 * value:+.1f}" for value in values) + " %"

    worst = [
        100 * max(abs(value) for beta in betas for value in off(beta, k, widths)) for k in (1, 2)
    ]
    text = (
        f"(2): {listed(off(0.5, 2))}; (1): {listed(off(0.5, 1))}; at beta = "
        f"{' and '.join(map(str, betas))}, a from 0.5 to 100: (1) at most {worst[0]:.1f} %, "
        f"(2) {worst[1]:.1f} %"
    )
    return Measured(text, all(abs(value) <= 0.1 for value in off(0.5, 2)))


def predicted(run: Run, beta: float, widths: tuple[float, ...]) -> dict:
    """Gain by width in 14 layers: measured, by equation (1), by equation (2)."""
    done, found = ran(Setup(beta=beta, depth=14)), {}
    for a in widths:
        run.tell(0.0, f"beta = {beta:g}, a = {a:g}")
        g = height(a)
        both = (
            mean_field.gains(done.net, done.run, g, detach=True),
            mean_field.independent_gains(done.net, done.run, g.derivative),
        )
        # Over the layers that the measured gain is over.
        means = [float(np.exp(np.mean(np.log(gains[: -stack.SKIPPED])))) for gains in both]
        found[a] = (done.gain(g), *means)
    return found
