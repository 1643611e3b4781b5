"""Every rounding constant of the proofs: derived again, and held against balls.

A derivation gives a bound that the constant must not fall below, and must not exceed twice: a
constant that somebody halves fails here, whether or not an adversarial argument is known.
"""

import math
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from flint import arb, ctx

from evsim.models.linear import CURRENT, DRIVEN, DRIVER
from evsim.proof import condense
from evsim.proof.ball_leap import crowd as crowd_of_balls
from evsim.proof.bounds import (
    COEFFICIENT,
    DOUBLE,
    GROWN,
    GROWN_2,
    LEVELS,
    NEAR,
    NOISE,
    QUOTIENT,
    READ,
    ROUGH,
    SINGLE,
    SLACK,
    SPLIT,
    TERM,
    TIMES,
    UP,
)
from evsim.proof.events import crowd
from evsim.proof.flow import (
    DEVIATION,
    REST,
    ROUNDING,
    flow,
    interval,
    later,
    moment,
    roughly,
    span_of,
)
from evsim.proof.layer import BUDGET, LOWERED
from evsim.proof.layout import NEURON, STATE, WIDTH, WORK, records
from evsim.proof.numbers import decay, pair_add, pair_div, pair_expm1, pair_mul, split
from evsim.proof.rows import between, weighted
from evsim.proof.state import astray, receive, release, shape

R = math.log(2.0) / 2.0 * 1.001  # of a reduced argument
TIERS = {"float64": (SINGLE, 0.0), "double-double": (DOUBLE, (0.0, 0.0))}
FORMS = [
    (10.0, (CURRENT,), (4.0,)),
    (4.0, (CURRENT,), (10.0,)),
    (5.0, (CURRENT,), (5.0,)),
    (5.0, (CURRENT,), (5.0000000001,)),
    (10.0, (CURRENT, CURRENT), (3.0, 30.0)),
    (10.0, (DRIVEN, DRIVER), (3.0, 3.0)),
    (3.0, (DRIVEN, DRIVER), (10.0, 10.0)),
    (4.0, (DRIVEN, DRIVER), (4.0, 4.0)),
    (None, (CURRENT, CURRENT), (None, 4.0)),
    (0.1, (CURRENT,), (1e3,)),
]
#: With currents that rise from nothing, or jump.
RISING = [FORMS[k] for k in (0, 1, 2, 5, 6, 7)]


@pytest.fixture(autouse=True)
def many_bits():
    before, ctx.prec = ctx.prec, 400
    yield
    ctx.prec = before


def ball(x):
    return arb(x[0]) + arb(x[1]) if isinstance(x, tuple) else arb(x)


def relative(found, exact):
    return abs(float(ball(found) / exact - 1))


# ---------------------------------------------------------------------------- derivations


def derived_single():
    """(exp, phi) of `evsim.numerics.exp_phi`, in units of 2**-53, step by step.

    Every rounding is half a unit in the last place of the largest result it may have.
    """
    reduced = 0.25  # of r < 1/2; the part before it is exact
    h = 0.5 + 0.5 + 0.1  # of its two leading sums, and what the smaller ones bring
    square = R * R * h + 0.0625 * 0.6
    rest = reduced * (1.0 + R) + square + 0.25
    truncation = 0.1
    exp = max((rest + truncation + 0.5) * math.sqrt(2.0), rest + truncation + 1.0)
    near = (R * h + 0.5) / ((1.0 - math.exp(-R)) / R)
    low = 1.0 - math.sqrt(0.5)
    far = max((0.5 * rest + 0.25) / low, (0.5 * rest + 0.5) / 0.5) + 1.0
    return exp, max(near, far)


def derived_double():
    """(exp, phi) of `pair_decay`, in units of 2**-106."""
    add, mul, div = 3.0, 4.0, 15.0
    reduced = add * R + 1.0  # the last of its sums, and the products below
    t = R / 16.0
    value, error = 1.0 / math.factorial(9), 2.0**-20
    for k in range(7, -1, -1):
        product = value * t
        error = error * t + mul * product
        value = 1.0 / math.factorial(k + 1) + product
        error += add * value + 1.0 / math.factorial(k + 1)
    y, error = value * t, error * t + mul * value * t
    relative_error = error / y
    for _ in range(4):
        error = 2.0 * error * (1.0 + y) + mul * y * y + add * (2.0 * y + y * y)
        # Below zero sums are smaller than their terms; relatively:
        relative_error += add + mul * y
        y = 2.0 * y + y * y
    error += reduced * (1.0 + y)
    exp = error / math.sqrt(0.5) + add
    low = 1.0 - math.sqrt(0.5)
    far = 0.5 * (error + add) / low + add + div
    return exp, max(relative_error * 1.2 + div, far)


def derived_second(b):
    """Of `moment`, in the units of `b`."""
    div = 15.0 if b is DOUBLE else 1.0
    found = []
    for y in (1.0, -1.0):
        value, error = 0.0, 0.0
        for k in range(26, -1, -1):
            c = 1.0 / math.factorial(k + 2)
            error = error * abs(y) + b.mul * abs(value * y)
            value = c + value * y
            error += b.add * abs(value) + c
        found.append(error / value + (b.exp + b.mul if y > 0 else 0.0))
    phi, ratio = 1.0 - math.exp(-1.0), math.exp(-1.0)
    found.append((phi * b.phi + ratio * b.exp) / (phi - ratio) + b.add + div)
    found.append(phi * b.phi / (1.0 - phi) + b.add + div)
    return max(found)


@pytest.mark.parametrize("tier", TIERS)
def test_the_constants_are_what_their_derivations_give(tier):
    b, _ = TIERS[tier]
    exp, phi = derived_double() if b is DOUBLE else derived_single()
    for name, bound in (("exp", exp), ("phi", phi), ("second", derived_second(b)),
                        ("arg", b.mul + 1.0)):  # fmt: skip
        constant = getattr(b, name)
        assert bound <= constant < 2.0 * bound, (name, bound, constant)


def derived_tests():
    """Of the two tests of `ends_tell` that round most, in units of 2**-53 of all their terms."""
    drop = product = sum_of_two = 1.0
    sums, argument = WIDTH - 1.0, SINGLE.arg + 1.0  # of an interval rounded once
    fade = SINGLE.exp + argument * math.exp(-1.0)  # of e^-x, absolutely: x e^-x <= 1/e
    push = 2.0 * drop + product + sums + sum_of_two + drop  # 1/decay is one of the drops
    rises = push + fade + sum_of_two + product + 4.0 * sum_of_two
    part = SINGLE.arg + SINGLE.exp + 4.0 * SINGLE.mul + SINGLE.phi + argument
    ends = part + WIDTH * SINGLE.add + drop + 3.0 * sum_of_two
    return max(rises, ends)


DERIVED = {
    # Two sums of pairs of 3 each, the first also an argument of the second.
    "TIMES": (TIMES, 6.0),
    # Differences, two sums, and what a comparison with it rounds on either side.
    "ROUGH": (ROUGH, 1.0 + 2.0 + 2.0),
    "LEVELS": (LEVELS, 3.0),  # one
    "SPLIT": (SPLIT, 1.0),  # half a unit in the last place of a low part of half a unit
    # Low parts dropped, the sum of the components, gain and its product, difference, threshold.
    "NOISE": (NOISE, 1.0 + (WIDTH - 1.0) + 2.0 + 1.0 + 1.0),
    "SLACK": (SLACK, derived_tests()),
    # Interval (three), rate and product, of at most 708; exponentials, phi, some twenty products.
    "COEFFICIENT": (COEFFICIENT, 5.0 * 708.0 + 2.0 * SINGLE.exp + SINGLE.phi + 20.0),
    "TERM": (TERM, 1.0),  # a product, and a sum with each of the others
    "QUOTIENT": (QUOTIENT, 2.0),  # a reciprocal and a product
    "READ": (READ, 1.0 + 1.0 + 2.0),  # of the middle, of the radius, and two sums
    # By how much e^(s/tau) exceeds 1 over one deviation of a time, and over two.
    "GROWN": (GROWN - 1.0, math.expm1(NEAR)),
    "GROWN_2": (GROWN_2 - 1.0, math.expm1(2.0 * NEAR)),
}


@pytest.mark.parametrize("name", DERIVED)
def test_the_other_constants_are_what_their_derivations_give(name):
    constant, bound = DERIVED[name]
    assert bound <= constant < 2.0 * bound, (name, bound, constant)


def test_sums_are_raised_by_twice_what_they_may_lose():
    """Of 4000 products; rows may be longer. Half of it would do, and no less than a quarter."""
    least = 4001.0 * SINGLE.unit
    assert 2.0 * least < UP - 1.0 < 4.0 * least
    assert condense.UP - 1.0 > 1000.0 * least
    assert 1.0 < LOWERED / BUDGET < 2.0 and LOWERED - BUDGET > 1e5 * SINGLE.unit


@pytest.mark.parametrize("length", [100, 4000, 100000])
def test_radii_of_long_rows_hold_terms_that_are_lost_one_by_one(length):
    """Each of the terms behind the first is less than half a unit in its last place."""
    row, small = np.full(length, 1.0), np.nextafter(2.0**-53, 0.0)
    row[0], e = 1.0, np.full(length, small)
    e[0] = 1.0
    exact = 1 + (length - 1) * Fraction(float(small))
    part = np.zeros(length)
    for found in (weighted(row, e, part, length), between(row, 0.0 * row, e, length)):
        assert Fraction(float(found)) >= exact
        assert found < 1.0 + 2.1e-12 + 3.0 * length * SINGLE.unit


def test_the_radius_of_a_row_holds_every_term_once():
    """Whatever its length, and whatever stands behind."""
    rng = np.random.default_rng(16)
    for length in range(70):
        row, e, part = rng.normal(size=80), rng.uniform(size=80), np.full(80, 1e9)
        exact = sum(Fraction(abs(a)) * Fraction(b) for a, b in zip(row[:length], e, strict=False))
        found = Fraction(float(weighted(row, e, part, length)))
        assert exact <= found <= exact * (1 + Fraction(2.1e-12))


def test_orders_of_times_are_those_of_exact_sums():
    """However close they are; and rough intervals keep their bound."""
    rng = np.random.default_rng(17)
    a, b = pairs(rng, 5000), pairs(rng, 5000)
    for k, (x, y) in enumerate(zip(a, b, strict=True)):
        off, off_0 = (float(v) for v in 10.0 ** rng.uniform(-9, 9, 2))
        if k % 2:  # nearly, or quite, equal: with off_0 in place of off, or as a part of y
            off_0 = off if k % 4 == 1 else 0.0
            y = split(sum(map(Fraction, (*x, off, -off_0))))
            y = (y[0], y[1] + float(rng.integers(-1, 2)) * 2.0**-104 * y[0])
        exact = Fraction(x[0]) + Fraction(x[1]) + Fraction(off)
        exact -= Fraction(y[0]) + Fraction(y[1]) + Fraction(off_0)
        d, error = roughly(*x, off, *y, off_0)
        assert abs(Fraction(float(d)) - exact) <= Fraction(float(error)) * 3 / Fraction(ROUGH)
        assert later(*x, off, *y, off_0) == (exact > 0)


def test_the_time_since_an_arrival_keeps_three_roundings_however_short():
    """Between two late times, but for what `interval` may be off by."""
    rng = np.random.default_rng(18)
    for x in pairs(rng, 5000):
        x = (abs(x[0]), x[1])
        off = float(x[0] * 10.0 ** rng.uniform(-12, -1))
        true = Fraction(x[0] * 10.0 ** rng.uniform(-36, -1)) * int(rng.integers(-1, 2))
        y = split(Fraction(x[0]) + Fraction(x[1]) - Fraction(off) - true)
        true = Fraction(x[0]) + Fraction(x[1]) - sum(map(Fraction, (*y, off)))
        span = Fraction(float(span_of(*x, *y, off)))
        most = abs(x[0] - y[0]) + off + abs(x[1] - y[1])
        least = Fraction(TIMES * DOUBLE.unit * most)
        assert abs(span - max(true, Fraction(0))) <= 3 * Fraction(SINGLE.unit) * abs(true) + least


def test_differences_of_times_keep_their_bound():
    rng, worst = np.random.default_rng(6), 0.0
    for a, b in zip(pairs(rng, 5000), pairs(rng, 5000), strict=True):
        off, off_0 = (float(x) for x in 10.0 ** rng.uniform(-9, 9, 2))
        if rng.random() < 0.5:
            b = (a[0] * (1.0 - 2.0 ** -rng.integers(1, 53)), b[1] * abs(a[0] / b[0]))
        found, error = interval(*a, off, *b, off_0)
        exact = ball(a) + arb(off) - ball(b) - arb(off_0)
        worst = max(worst, float(abs(ball(found) - exact)) / error)
    assert 0.05 < worst <= 1.0


def test_slopes_in_floats_keep_their_bound():
    """Of a neuron with as many components as there may be."""
    taus = tuple(float(t) for t in 1.7 ** np.arange(1, WIDTH + 1))
    p, q = neuron(3.1, (CURRENT,) * WIDTH, taus), records(STATE, 1)[0]
    rng, worst = np.random.default_rng(7), 0.0
    for _ in range(500):
        values = list(pairs(rng, WIDTH + 1))
        scale = float(np.exp(rng.normal())) / abs(values[0][0])
        values[0] = (values[0][0] * scale, values[0][1] * scale)
        q.x.hi[:], q.x.lo[:] = zip(*values, strict=True)
        now = shape(p, q.x, 0.0)
        currents = sum((ball(v) for v in values[1:]), arb(0))
        off = abs(arb(now.slope) - (currents - ball(values[0])) / arb(3.1))
        worst = max(worst, float(off) / now.loose)
    assert 1e-3 < worst <= 1.0


@pytest.mark.parametrize("form", [0, 1, 2, 4, 5, 6, 7, 8])
def test_slope_and_curvature_are_bounded_back_and_forth(form):
    """From NEAR time constants before a state on; half of what they may grow is not enough."""
    kinds, (p, q) = FORMS[form][1], (neuron(*FORMS[form]), records(STATE, 1)[0])
    rng, worst, count = np.random.default_rng(8), 0.0, 1 + len(kinds)
    gain, rate = arb(p.gain_hi), arb(p.rate_hi)
    decay = [arb(d) for d in p.decay_hi.tolist()]
    for turn in range(60):
        values = rng.choice([-1.0, 1.0], count) * 10.0 ** rng.uniform(-2, 2, count)
        if turn < count:  # one alone
            values = 1.0 * (np.arange(count) == turn)
        q.x.hi[:count] = values
        now = shape(p, q.x, ahead := float(rng.choice([0.0, 1.0])) * p.shortest)
        for s in (-NEAR * p.shortest, -0.5 * NEAR * p.shortest, 0.0, ahead):
            u, *c = exact_flow(*FORMS[form], [arb(v) for v in values], arb(s))
            flows = [-decay[k] * v for k, v in enumerate(c)]
            if DRIVER in kinds:
                flows[0] += c[1]
            felt = [k for k, kind in enumerate(kinds) if kind != DRIVER]
            slope = gain * sum((c[k] for k in felt), arb(0)) - rate * u
            bend = gain * sum((flows[k] for k in felt), arb(0)) - rate * slope
            for true, bound in ((slope, now.steep), (bend, now.bend)):
                assert abs(true) <= bound
                worst = max(worst, float(abs(true)) / max(bound, 1e-300))
    assert (1.0 + GROWN) / 2.0 / GROWN < worst or p.rate_hi * p.shortest < 1.0


@pytest.mark.parametrize("form", range(len(RISING)))
def test_arrivals_still_to_come_are_bounded_as_far_as_their_order_is_open(form):
    """What an arrival of the centre has done before it comes in truth, over two deviations; half
    of what it may grow is not enough for currents that are driven."""
    tau, kinds, taus = RISING[form]
    p, q = neuron(tau, kinds, taus), records(STATE, 1)[0]
    port, late = len(kinds) - 1, NEAR * p.shortest
    receive(p, SINGLE, q, port, 2.0, late, 0.0, 0.0)
    q.near, q.origin = late, 0
    both = crowd(p, q, late, 0.0)
    assert both == pytest.approx(2.0 * late)
    jump = [arb(0)] * port + [arb(0), arb(2)]
    done = float(abs(exact_flow(tau, kinds, taus, jump, -arb(2.0 * late))[0]))
    assert done <= q.crowd
    if kinds[-1] == DRIVER and tau == taus[-1]:
        assert (1.0 + GROWN_2) / 2.0 / GROWN_2 < done / q.crowd
    crowd(p, q, late, 3.0 * late)  # far enough
    assert q.crowd == 0.0


@pytest.mark.parametrize("balls", [False, True])
def test_nothing_whose_order_is_open_is_forgotten(balls):
    """Arrivals of all radii allowed, at random gaps: against a list of all of them."""
    rng, widest, found = np.random.default_rng(9), NEAR * 4.0, [0, 0]
    p = neuron(*FORMS[0])
    for _ in range(300):
        q = SimpleNamespace(shortest=p.shortest) if balls else records(STATE, 1)[0]
        q.near = q.reach = q.kick = q.kept = q.lapse = 0.0
        q.origin = -1
        now, past, scale = 0.0, [], widest * rng.choice([0.02, 0.3, 1.0])
        for _ in range(60):
            s, r = scale * rng.exponential(), widest * rng.choice([0.0, rng.uniform(), 1.0])
            now += s
            crowd_of_balls(q, r, arb(s)) if balls else crowd(p, q, r, s)
            near = [w for a, own, w in past if now - a < (own + r) * (1.0 - 1e-9)]
            both = max((own + r - now + a for a, own, _ in past), default=0.0)
            assert q.crowd >= both * sum(near)
            found[bool(near)] += 1
            q.reach, q.near, q.origin = max(q.reach, q.near) - s, r, 0
            q.kick += (w := rng.exponential())
            past.append((now, r, w))
    assert min(found) > 1000


@pytest.mark.parametrize("form", range(len(RISING)))
@pytest.mark.parametrize("scale", [1.0, 1e4])  # of time
def test_an_arrival_on_the_other_side_of_a_release_does_no_more_than_that(form, scale):
    """It acts from the release on, or from its own time on, whichever of them is first."""
    tau, kinds, taus = RISING[form]
    tau, taus = tau and tau * scale, tuple(t * scale for t in taus)
    p, gain, rate = neuron(tau, kinds, taus), 1.0 / (tau or 1.0), 1.0 / tau if tau else 0.0
    own, both = 1.0 / taus[-1], 2.0 * NEAR * p.shortest
    s = np.linspace(0.0, both, 2001)
    # Carried back from the arrival, and to the release by one deviation.
    acts = np.exp(own * s) * (s if kinds[-1] == DRIVER else 1.0)
    acts *= np.exp(rate * (0.5 * both - s))
    off = 3.0 * gain * np.trapezoid(acts, s)
    bound = astray(p.gain_hi, kinds[-1] == DRIVER, 3.0, both)
    assert 0.9 * bound < off <= bound


def test_the_unit_operations_have_the_published_bounds():
    """Joldes, Muller, Popescu (2017): 3, 4 and 15 u^2; roundings of one operation are u."""
    assert (SINGLE.unit, SINGLE.add, SINGLE.mul) == (2.0**-53, 1.0, 1.0)
    assert (DOUBLE.unit, DOUBLE.add, DOUBLE.mul) == (2.0**-106, 3.0, 4.0)


# ------------------------------------------------------------------------------ adversaries


def pairs(rng, count):
    """Pairs whose low part is as large as it may be, of either sign; some nearly cancel."""
    for _ in range(count):
        hi = float(rng.choice([-1, 1]) * 2.0 ** rng.uniform(-30, 30))
        yield hi, float(np.spacing(hi) * rng.choice([-0.5, 0.5, rng.uniform(-0.5, 0.5)]))


def test_operations_on_pairs_keep_their_bounds():
    rng, worst = np.random.default_rng(0), [0.0, 0.0, 0.0]
    for a, b in zip(pairs(rng, 20000), pairs(rng, 20000), strict=True):
        if rng.random() < 0.3:
            b = (-a[0] * (1.0 + 2.0 ** -rng.integers(1, 52)), b[1] * abs(a[0] / b[0]) * 0.4)
        x, y = ball(a), ball(b)
        for k, (found, exact) in enumerate(
            ((pair_add(a, b), x + y), (pair_mul(a, b), x * y), (pair_div(a, b), x / y))
        ):
            if exact != 0:
                worst[k] = max(worst[k], relative(found, exact) / DOUBLE.unit)
    assert worst[0] <= 3.0 and worst[1] <= 4.0 and worst[2] <= 15.0


def arguments(rng, count):
    """Spread over all magnitudes, and dense where the reduction changes."""
    yield from (0.0, 1e-300, 5e-324, 1e-20, 600.0 - 1e-9)
    for _ in range(count):
        kind = rng.integers(4)
        if kind == 0:
            yield float(10.0 ** rng.uniform(-20, 2.7))
        elif kind == 1:
            yield float(rng.uniform(0, 3))
        elif kind == 2:
            yield float((rng.integers(0, 40) + 0.5) * math.log(2.0) * (1 + rng.normal() * 1e-9))
        else:
            yield float(rng.uniform(0, 590))


@pytest.mark.parametrize("tier", TIERS)
def test_exponentials_keep_their_bounds(tier):
    b, like = TIERS[tier]
    rng, worst = np.random.default_rng(1), [0.0, 0.0]
    for x in arguments(rng, 6000):
        lo = float(np.spacing(x) * rng.uniform(-0.5, 0.5)) if x > 1e-290 else 0.0
        value = (x, lo) if isinstance(like, tuple) else x
        exact = ball(value)
        e = (-exact).exp()
        phi = -(-exact).expm1() / exact if x > 0 else arb(1)
        for k, (found, true) in enumerate(zip(decay(value), (e, phi), strict=True)):
            worst[k] = max(worst[k], relative(found, true) / b.unit)
    assert worst[0] <= b.exp and worst[1] <= b.phi, worst


def test_expm1_keeps_its_relative_accuracy_down_to_zero():
    rng = np.random.default_rng(2)
    for _ in range(3000):
        r = float(rng.choice([-1, 1]) * 10.0 ** rng.uniform(-30, math.log10(R)))
        found = pair_expm1((r, 0.0))
        assert relative(found, arb(r).expm1()) <= 40.0 * DOUBLE.unit


@pytest.mark.parametrize("tier", TIERS)
def test_moments_keep_their_bound(tier):
    b, like = TIERS[tier]
    rng = np.random.default_rng(3)
    for x in [1e-18, 1.0, 1.0 - 1e-16, *(10.0 ** rng.uniform(-12, 2.5, 600))]:
        value = (float(x), 0.0) if isinstance(like, tuple) else float(x)
        ratio, phi = decay(value)
        exact = arb(float(x))
        for rising in (True, False):
            shape = (exact if rising else -exact).hypgeom_1f1(1, 3) / 2
            true = (-exact).exp() * shape if rising else shape
            found = moment(value, ratio, phi, rising, like)
            assert relative(found, true) <= b.second * b.unit * 1.0000001


def neuron(tau, kinds, taus):
    out = records(NEURON, 1)
    out.rate_hi, out.rate_lo = split(1 / Fraction(tau)) if tau else (0.0, 0.0)
    out.gain_hi, out.gain_lo = (out.rate_hi, out.rate_lo) if tau else (1.0, 0.0)
    for k, (kind, own) in enumerate(zip(kinds, taus, strict=True)):
        rate, decays = (1 / Fraction(t) if t else Fraction(0) for t in (tau, own))
        out.decay_hi[:, k], out.decay_lo[:, k] = split(decays)
        out.gap_hi[:, k], out.gap_lo[:, k] = split(abs(rate - decays))
        out.slow[:, k], out.kind[:, k] = decays >= rate, kind
    out.count, out.shortest = len(kinds), min(t for t in (tau, *taus) if t)
    out.drive = -1
    return out[0]


def exact_flow(tau, kinds, taus, values, s):
    """(u, components) after `s`, by balls and other formulas than the kernels'."""
    rate = 1 / arb(tau) if tau else arb(0)
    gain = rate if tau else arb(1)
    em, s = (-s * rate).exp(), s
    u, out = values[0] * em, []
    for k, (kind, own, value) in enumerate(zip(kinds, taus, values[1:], strict=True)):
        own_rate = 1 / arb(own) if own else arb(0)
        fade = (-s * own_rate).exp()
        # int_0^s e^{-(s - q) rate} e^{-q own} dq, and with a factor q.
        x = (rate - own_rate) * s
        first = em * s * x.hypgeom_1f1(1, 2)
        second = em * s * s * x.hypgeom_1f1(2, 3) / 2
        out.append(value * fade)
        if kind == DRIVER:
            u += gain * value * second
            out[k - 1] += value * s * fade
        else:
            u += gain * value * first
    return [u, *out]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("form", FORMS)
def test_the_flow_keeps_its_bound(tier, form):
    """Also of the error of the interval, and of errors and deviations that the state brings."""
    b, like = TIERS[tier]
    p, (work,) = neuron(*form), records(WORK, 1)
    q = records(STATE, 1)[0]
    rng, count = np.random.default_rng(4), 1 + len(form[1])
    for _ in range(300):
        values = rng.choice([-1, 1], count) * 10.0 ** rng.uniform(-3, 3, count)
        s, error = float(10.0 ** rng.uniform(-8, 2)), 0.0
        brought = rng.choice([0.0, 1e-9]) * rng.uniform(0, 1, count)
        q.x.hi[:count], q.x.lo[:count] = values, 0.0
        q.x.bound[ROUNDING, :count] = q.x.bound[DEVIATION, :count] = brought
        late = rng.choice([0.0, 1e-10]) * s
        flow(p, b, q.x, False, (s, 0.0) if isinstance(like, tuple) else s, late, work, like)
        true = exact_flow(*form, [arb(v) + arb(e) for v, e in zip(values, brought, strict=True)],
                          arb(s) + arb(late))  # fmt: skip
        for c in range(count):
            off = abs(arb(work.x.hi[c]) + arb(work.x.lo[c]) - true[c])
            assert off < work.x.bound[ROUNDING, c], (c, values, s)
        assert error == 0.0


@pytest.mark.parametrize("form", FORMS)
def test_arrivals_carried_back_in_time_keep_their_second_order(form):
    """The jump at a + d, seen at a, less its linear part; and half the bound is not enough."""
    p, st = neuron(*form), records(STATE, 1)
    worst = 0.0
    for port in [len(form[1]) - 1, 0][: 1 if DRIVER in form[1] else 2]:
        for d in (-NEAR, -NEAR / 7, NEAR / 3, NEAR):
            q, d = st[0], d * p.shortest
            q.x.hi[:], q.x.lo[:], q.x.bound[:], weight = 0.0, 0.0, 0.0, -3.0
            receive(p, SINGLE, q, port, weight, abs(d), 0.0, 0.0)
            jump = [arb(0)] * (1 + len(form[1]))
            jump[1 + port] = arb(weight)
            seen = exact_flow(*form, jump, -arb(d))
            small = arb(d) * arb(2) ** -180
            slope = exact_flow(*form, jump, -small)
            for c in range(len(jump)):
                linear = (slope[c] - jump[c]) * arb(2) ** 180
                rest, whole = abs(seen[c] - jump[c] - linear), abs(seen[c] - jump[c])
                bound = q.x.bound[REST, c]
                assert rest < bound + 1e-60 and whole < q.x.bound[DEVIATION, c] + 1e-60
                if bound > 1e-100:
                    worst = max(worst, float(rest) / bound)
    assert 0.5 < worst <= 1.0


def test_a_release_keeps_its_second_order():
    """The membrane at R of a neuron that is released at R + d; half the bound is not enough."""
    form = FORMS[0]
    p, q = neuron(*form), records(STATE, 1)[0]
    worst = 0.0
    for u, i, more in ((0.0, 3.0, 0.0), (-1.0, 3.0, 1e-3), (0.4, -2.0, 1e-3), (0.0, 1.0, 0.5)):
        for d in (-NEAR, NEAR):
            d *= p.shortest
            q.x.hi[:], q.x.bound[:] = 0.0, 0.0
            q.x.hi[:2], q.x.bound[DEVIATION, 1] = (u, i), more
            release(p, q, abs(d))
            for side in (-1, 1):
                later = (arb(i) + side * arb(more)) * (-arb(d) / 4).exp()
                seen = exact_flow(*form, [arb(u), later], -arb(d))[0]
                linear = -arb(d) * (arb(i) - arb(u)) / 10
                rest = abs(seen - u - linear)
                assert rest < q.x.bound[REST, 0]
                assert abs(seen - u) < q.x.bound[DEVIATION, 0]
                worst = max(worst, float(rest) / q.x.bound[REST, 0])
    assert 0.5 < worst <= 1.0
