"""Networks of single spikes: mapping, three readings, exact numbers, conditions, gradients."""

import itertools
from dataclasses import replace
from fractions import Fraction

import flint
import numpy as np
import pytest

from reference import finite_difference as fd
from reference import ttfs
from reference.losses import softmax_cross_entropy
from reference.ttfs_event import Cells, Window, first_crossings, first_crossings_plain
from reference.ttfs_training import relu_gradient

MODELS = ("b1", "alpha", "general")
EPS = 2.0**-52


def mlp(seed, sizes=(64, 50, 40, 30, 10), samples=32, bias=0.1):
    rng = np.random.default_rng(seed)
    pairs = list(itertools.pairwise(sizes))
    weights = [rng.normal(size=(o, i)) * np.sqrt(2 / i) for i, o in pairs]
    biases = [bias * rng.normal(size=o) for _, o in pairs]
    x = rng.random((samples, sizes[0]))
    x[0] = 0.0
    slopes = {
        "A": [abs(rng.normal(size=o)) * 0.3 for _, o in pairs[:-1]],
        "B": [np.exp(0.3 * rng.normal(size=o)) for _, o in pairs[:-1]],
    }
    return weights, biases, x, slopes


def mapped(seed, model, *, zeta=0.5, **options):
    weights, biases, x, slopes = mlp(seed, **options)
    logits, activations = ttfs.relu_forward(weights, biases, x)
    peaks = [a.max() for a in activations]
    net = ttfs.from_relu(weights, biases, peaks, model=model, zeta=zeta, **slopes)
    return net, x, logits, activations


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("semantics", ["closed", "clamped", "event"])
def test_mapped_networks_are_their_relu_networks(model, semantics):
    for seed in range(4):
        net, x, logits, activations = mapped(seed, model)
        run = ttfs.forward(net, x, semantics)
        assert abs(run.logits - logits).max() <= 1e-12
        assert (run.logits.argmax(axis=1) == logits.argmax(axis=1)).all()
        assert not any(p.any() for p in run.premature)
        for active, a in zip(run.active, activations, strict=True):
            # Also without any input spike, where rounding must not make a spike.
            assert (active == (a > 0)).all()
        for n, times in enumerate(run.times):
            assert (times[~run.active[n]] == net.bounds[n + 2]).all()
            assert (times[run.active[n]] < net.bounds[n + 2]).all()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("tau_c", [1.0, 0.02])
def test_the_dynamics_cross_where_the_closed_form_says(model, tau_c):
    for zeta in (0.5, 2.0, 9.0):
        weights, biases, x, slopes = mlp(3, samples=8)
        peaks = [a.max() for a in ttfs.relu_forward(weights, biases, x)[1]]
        net = ttfs.from_relu(weights, biases, peaks, model, zeta, tau_c=tau_c, **slopes)
        closed, event = ttfs.forward(net, x), ttfs.forward(net, x, "event")
        for a, b in zip(closed.times, event.times, strict=True):
            assert abs(a - b).max() <= 1e-12
        assert not any(p.any() for p in event.premature)


def test_the_kernel_and_its_plain_twin_agree():
    rng = np.random.default_rng(5)
    t = rng.choice([0.25, 0.5, 0.7, 1.0, 1.3, -0.5], (40, 9)).astype(float)
    weight = rng.normal(size=(9, 6))
    v_th = rng.normal(size=(4, 6)) * 0.5 + 0.6
    cells = Cells(v_th, rng.normal(size=6) * 0.4, rng.random(6) + 0.5, rng.normal(size=(4, 6)))
    window = Window(0.0, 1.0, 3.0, 0.5)
    answer = np.empty((40, 6)), np.empty((40, 6), bool), np.empty((40, 6), bool)
    first_crossings(t, weight, cells, window, *answer)
    plain = first_crossings_plain(t, weight, cells, window)
    assert abs(answer[0] - plain[0]).max() <= 64 * EPS
    assert (answer[1] == plain[1]).all() and (answer[2] == plain[2]).all()
    assert 0.2 < plain[2].mean() < 0.8 and plain[1].mean() < 0.95


def voltage(t, spikes, weights, a, window):
    """V at `t` in the first regime, as a sum over spikes."""
    since = [max(0.0, t - max(s, window.start)) for s in spikes]
    return (a * (t - window.start) + float(np.dot(weights, since))) / window.tau_c


def test_premature_spikes_are_the_first_crossings():
    rng = np.random.default_rng(6)
    window, found = Window(0.0, 1.0, 2.0, 1.0), 0
    for _ in range(60):
        t, w = np.round(rng.random(5) * 16) / 16, rng.normal(size=5) * 3
        cells = Cells(np.array([[0.3]]), np.zeros(1), np.ones(1), np.array([[0.7]]))
        times, _, premature = first_crossings_plain(t[None], w[:, None], cells, window)
        # A voltage that is linear between spikes passes a threshold at one of their ends first.
        kinks = np.concatenate([np.sort(t), [1.0]])
        above = [k for k in kinks if voltage(k, t, w, 0.0, window) >= 0.3]
        assert premature[0, 0] == (bool(above) and times[0, 0] < 1.0)
        if premature[0, 0]:
            found += 1
            assert abs(voltage(times[0, 0], t, w, 0.0, window) - 0.3) <= 1e-14
            assert times[0, 0] <= above[0]
    assert 10 < found < 50


def test_three_readings_of_a_window_that_is_too_short():
    # x = 2 in a window of 1: acausal, clipped, or wherever the voltage comes to threshold.
    net = ttfs.from_relu([[[2.0]], [[1.0]]], [[0.0], [0.0]], x_max=[1.0], zeta=0.0)
    runs = {s: ttfs.forward(net, [[1.0]], s) for s in ("closed", "clamped", "event")}
    assert [float(r.logits[0, 0]) for r in runs.values()] == [2.0, 1.0, 1.0]
    assert [float(r.times[0][0, 0]) for r in runs.values()] == [0.0, 1.0, 0.5]
    assert all(r.premature[0].all() for r in runs.values())
    # Excitation before stronger inhibition: only the dynamics know (C3).
    net = ttfs.from_relu([[[4.0, -16.0]], [[1.0]]], [[0.0], [0.0]], x_max=[1.0], zeta=0.0)
    found = ttfs.conditions(net, [[1.0, 0.7]])
    assert found.early == [(0, 0)] and found.window == [] and not found.ok
    run = ttfs.forward(net, [[1.0, 0.7]], "event")
    assert run.times[0][0, 0] == 0.25 and run.premature[0].all()


def test_conditions_name_what_breaks_them():
    net = ttfs.from_relu([[[1.0], [1.0]], [[1.0, 1.0]]], [[0.0, 3.0], [0.0]], x_max=[2.0], zeta=0.0)
    found = ttfs.conditions(net, [[1.0]])
    assert found.threshold == [(0, 1)] and found.window == [(0, 1)]
    net.hidden[0].b[0] = -1.0
    assert ttfs.conditions(net, [[1.0]]).slope == [(0, 0)]
    with pytest.raises(ValueError, match=r"B\[0\]\[0\] must be positive; got -1.0"):
        ttfs.to_relu(net)


def test_safe_windows_are_safe_and_short_ones_are_reported():
    early = {"safe": 0, "short": 0}
    for seed in range(6):
        weights, biases, x, slopes = mlp(seed)
        slopes["A"] = [0.3 * np.random.default_rng(seed).normal(size=a.shape) for a in slopes["A"]]
        logits, activations = ttfs.relu_forward(weights, biases, x)
        peaks = [a.max() for a in activations]
        short = ttfs.from_relu(weights, biases, peaks, "general", **slopes)
        safe = short.with_windows(ttfs.safe_widths(short))
        assert ttfs.conditions(safe, x).ok
        assert abs(ttfs.forward(safe, x, "event").logits - logits).max() <= 1e-11
        for name, net in (("safe", safe), ("short", short)):
            early[name] += sum(int(p.sum()) for p in ttfs.forward(net, x, "event").premature)
    assert early["safe"] == 0 and early["short"] > 0


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("dtype", [Fraction, flint.fmpq])
def test_exact_numbers_have_no_rounding(model, dtype):
    rng = np.random.default_rng(8)
    sizes = (6, 5, 4, 3)
    weights = [rng.integers(-40, 41, (o, i)) / 32 for i, o in itertools.pairwise(sizes)]
    biases = [rng.integers(-8, 9, o) / 8 for o in sizes[1:]]
    x = rng.integers(0, 17, (4, 6)) / 16
    logits, activations = ttfs.relu_forward(weights, biases, x)
    peaks = [a.max() for a in activations]
    options = {"A": [Fraction(1, 7), 0.5], "B": [2, Fraction(1, 3)]}
    net = ttfs.from_relu(weights, biases, peaks, model, alpha=Fraction(1, 3), **options,
                         tau_c=Fraction(1, 50), dtype=dtype)  # fmt: skip
    exact = np.frompyfunc(lambda v: dtype(*float(v).as_integer_ratio()), 1, 1)
    for semantics in ("closed", "clamped", "event"):
        assert (ttfs.forward(net, x, semantics).logits == exact(logits)).all()
    back, _ = ttfs.to_relu(net)
    assert all((a == exact(b)).all() for a, b in zip(back, weights, strict=True))


def convolutional(seed=0, samples=5, low=-3.0):
    rng = np.random.default_rng(seed)

    def norm(n):
        return ttfs.BatchNorm(*rng.normal(size=(3, n)), rng.random(n) + 0.5)

    layers = [
        ttfs.Conv2d(1, 1), ttfs.ReLU(), norm(4), ttfs.MaxPool(2), ttfs.Conv2d(1, 1), norm(6),
        ttfs.ReLU(), ttfs.AvgPool(2), ttfs.Conv2d(1, 1), ttfs.ReLU(), norm(5), ttfs.Dense(),
        ttfs.ReLU(), ttfs.Dense(),
    ]  # fmt: skip
    shapes = (4, 2, 3, 3), (6, 4, 3, 3), (5, 6, 3, 3), (7, 20), (3, 7)
    weights = [rng.normal(size=s) * np.sqrt(1 / np.prod(s[1:])) for s in shapes]
    biases = [0.1 * rng.normal(size=len(w)) for w in weights]
    x = rng.uniform(low, 3.0, (samples, 2, 8, 8))
    logits, activations = ttfs.relu_forward(weights, biases, x, layers)
    peaks = [a.max() for a in activations]
    return weights, biases, peaks, layers, x, logits


@pytest.mark.parametrize("model", MODELS)
def test_convolutions_pools_and_batch_norms_fuse_exactly(model):
    weights, biases, peaks, layers, x, logits = convolutional()
    options = {"A": [0.1, 0.2, 0.0, 0.3], "B": [2.0, 0.5, 1.0, 1.5]}
    net = ttfs.from_relu(weights, biases, peaks, model, layers=layers, input_shape=(2, 8, 8),
                         input_range=(-3.0, 3.0), **options)  # fmt: skip
    for semantics in ("closed", "event"):
        assert abs(ttfs.forward(net, x, semantics).logits - logits).max() <= 1e-12
    # Nine biases a channel: inside, four edges, four corners.
    drift = net.weighted[1].drift[0]
    assert len(np.unique(drift.round(9))) == 9
    pool = next(layer for layer in net.layers if isinstance(layer, ttfs.Pool))
    assert 0 < pool.latest.sum() < 4  # both signs of gamma


def test_either_rule_of_fusion_left_out_is_seen():
    weights, biases, peaks, layers, x, _ = convolutional()
    net = ttfs.from_relu(weights, biases, peaks, layers=layers, input_shape=(2, 8, 8),
                         input_range=(-3.0, 3.0))  # fmt: skip
    flat, earliest = net.copy(), net.copy()
    layer = flat.weighted[1]
    layer.drift[:] = layer.drift[:, 1:2, 1:2]
    k = next(k for k, layer in enumerate(net.layers) if isinstance(layer, ttfs.Pool))
    earliest.layers[k] = replace(net.layers[k], latest=np.zeros(4, bool))
    right = ttfs.forward(net, x).times[1]
    for broken in (flat, earliest):
        assert abs(ttfs.forward(broken, x).times[1] - right).max() > 0.1


@pytest.mark.parametrize("model", MODELS)
def test_there_and_back_again(model):
    weights, biases, _, slopes = mlp(1)
    net = ttfs.from_relu(weights, biases, [9.0, 8.0, 7.0], model, **slopes)
    back, bias = ttfs.to_relu(net)
    for a, b in zip([*back, *bias], [*weights, *biases], strict=True):
        assert abs(a - b).max() <= 16 * EPS * abs(b).max()
    again = ttfs.from_relu(back, bias, [9.0, 8.0, 7.0], model, **slopes)
    for one, two in zip(net.v_th, again.v_th, strict=True):
        # Of the alpha model, 1 minus the sum of a row, at least 0.01, loses two digits.
        assert (abs(one - two) <= 1e-12 * abs(one)).all()


def test_windows_do_not_change_the_function_and_only_grow():
    net, x, logits, _ = mapped(2, "alpha")
    wide = net.with_windows([40.0, 50.0, 60.0])
    assert abs(ttfs.forward(wide, x).logits - logits).max() <= 1e-12
    grown = ttfs.adapted(net, x, gamma=10.0)
    for n, times in enumerate(ttfs.forward(net, x).times):
        used = (net.bounds[n + 2] - times).max()
        assert grown.widths[n] >= 10.0 * used * (1 - EPS) and grown.widths[n] >= net.widths[n]
    assert (ttfs.adapted(grown, x[:1], gamma=1.0).widths == grown.widths).all()


def test_bad_arguments_are_named():
    w, b = [np.eye(2), np.eye(2)], [np.zeros(2), np.zeros(2)]
    with pytest.raises(ValueError, match="x_max must have one value per hidden layer, 1; got 2"):
        ttfs.from_relu(w, b, [1.0, 1.0])
    with pytest.raises(ValueError, match=r"x_max\[0\] must be non-negative and finite; got -1.0"):
        ttfs.from_relu(w, b, [-1.0])
    with pytest.raises(ValueError, match="model must be one of b1, alpha, general; got 'b2'"):
        ttfs.from_relu(w, b, [1.0], "b2")
    with pytest.raises(ValueError, match=r"B\[0\]\[1\] must be positive; got 0.0"):
        ttfs.from_relu(w, b, [1.0], "general", A=[0.0], B=[[1.0, 0.0]])
    net = ttfs.from_relu(w, b, [1.0])
    with pytest.raises(ValueError, match=r"x\[0, 1\] is 1.5, not in \[0.0, 1.0\]"):
        ttfs.forward(net, [[0.5, 1.5]])
    with pytest.raises(ValueError, match="semantics must be one of closed, clamped, event"):
        ttfs.forward(net, [[0.5, 0.5]], "other")
    with pytest.raises(ValueError, match="needs a ReLU before it"):
        ttfs.from_relu(w, b, [], layers=[ttfs.Dense(), ttfs.Dense()])


def test_single_precision_and_long_windows_lose_what_they_must():
    error = {}
    for dtype in (np.float32, np.float64):
        for width in (None, 1500.0):
            weights, biases, x, _ = mlp(0)
            logits, activations = ttfs.relu_forward(weights, biases, x)
            net = ttfs.from_relu(weights, biases, [a.max() for a in activations], dtype=dtype)
            net = net.with_windows([width] * 3) if width else net
            run = ttfs.forward(net, x)
            assert run.logits.dtype == dtype
            error[dtype, width] = abs(run.logits - logits).max()
    assert 1e-4 <= error[np.float32, 1500.0] <= 1e-2 and error[np.float32, None] <= 1e-4
    assert error[np.float64, 1500.0] <= 1e-10 and error[np.float64, None] <= 1e-13


def test_moved_spikes_reach_the_next_layer():
    net, x, logits, _ = mapped(4, "b1")
    seen = []

    def late(n, times, active, window):
        seen.append((n, window))
        return np.where(active, np.minimum(times + 0.01, window[1]), times) if n == 1 else times

    run = ttfs.forward(net, x, perturb=late)
    assert [n for n, _ in seen] == [0, 1, 2, 3] and seen[1][1] == (net.bounds[1], net.bounds[2])
    assert abs(run.logits - logits).max() > 1e-4


# Gradients


def with_parameters(net, values):
    moved = net.copy()
    for name, array in moved.parameters().items():
        array[...] = values[name]
    return moved


def structure(net, x):
    run = ttfs.forward(net, x)
    return b"".join(a.tobytes() for a in run.active)


def checked(net, x, labels, semantics="closed", sparsity=0.0, rtol=1e-6, **options):
    def loss(values):
        return ttfs.gradient(with_parameters(net, values), x, labels, semantics=semantics,
                             sparsity=sparsity, **options)[0]  # fmt: skip

    def vjp(values, c):
        _, g = ttfs.gradient(with_parameters(net, values), x, labels, semantics=semantics,
                             sparsity=sparsity, **options)  # fmt: skip
        pairs = [(f"{n}{k}", c * part) for n in ("W", "D") for k, part in enumerate(g[n])]
        return dict(pairs)

    values = {name: array.copy() for name, array in net.parameters().items()}
    return fd.check(loss, vjp, values, structure=lambda v: structure(with_parameters(net, v), x),
                    directions=2, rtol=rtol, step=1e-4)  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("sparsity", [0.0, 1e-2])
def test_gradients_of_dense_networks(model, sparsity):
    net, x, *_ = mapped(0, model, sizes=(64, 20, 15, 10), samples=8)
    assert checked(net, x, np.arange(8) % 10, sparsity=sparsity).require()


@pytest.mark.parametrize("model", MODELS)
def test_gradients_of_the_mean_square(model):
    net, x, *_ = mapped(0, model, sizes=(64, 20, 15, 10), samples=8)
    targets = np.random.default_rng(0).normal(size=(8, 10))
    assert checked(net, x, targets, loss="mean square").require()
    with pytest.raises(ValueError, match="loss must be one of cross entropy, mean square"):
        ttfs.gradient(net, x, targets, loss="hinge")


@pytest.mark.parametrize("model", MODELS)
def test_gradients_of_convolutional_networks(model):
    weights, biases, peaks, layers, x, _ = convolutional(samples=3)
    options = {"A": [0.1, 0.2, 0.0, 0.3], "B": [2.0, 0.5, 1.0, 1.5]}
    net = ttfs.from_relu(weights, biases, peaks, model, layers=layers, input_shape=(2, 8, 8),
                         input_range=(-3.0, 3.0), **options)  # fmt: skip
    assert checked(net, x, [0, 1, 2]).require()


def test_gradients_of_clamped_networks_are_those_of_clipped_relus():
    net, x, *_ = mapped(0, "b1", sizes=(64, 20, 15, 10), samples=8, zeta=-0.5)
    assert any(p.any() for p in ttfs.forward(net, x, "clamped").premature)
    assert checked(net, x, np.arange(8) % 10, "clamped").require()
    assert not checked(net, x, np.arange(8) % 10, "clamped", rtol=1e-12).ok  # it can fail


@pytest.mark.parametrize("model", MODELS)
def test_gradients_are_those_of_the_relu_network(model):
    """Behind w = W/B and b = D/B; in the alpha model B moves with W."""
    net, x, logits, _ = mapped(1, model, sizes=(64, 20, 15, 10), samples=8)
    labels = np.arange(8) % 10
    loss, g = ttfs.gradient(net, x, labels)
    slopes = [layer.slopes() for layer in net.hidden] + [np.ones(10)]
    pairs = list(zip(net.weighted, slopes, strict=True))
    weights = [layer.weight / b[:, None] for layer, b in pairs]
    biases = [layer.drift / b for layer, b in pairs]
    value, by = relu_gradient(weights, biases, x, labels)
    assert abs(loss - value) <= 1e-13
    assert abs(loss - softmax_cross_entropy(logits, labels)[0]) <= 1e-13
    for k, (layer, b) in enumerate(pairs):
        by_weight, by_bias = by["W"][k], by["D"][k]
        if layer.model == "alpha":
            along = (weights[k] * by_weight).sum(axis=1) + biases[k] * by_bias
            by_weight = by_weight - along[:, None]
        for found, wanted in ((g["W"][k], by_weight / b[:, None]), (g["D"][k], by_bias / b)):
            assert abs(found - wanted).max() <= 1e-12 * abs(wanted).max()


def spike_times(net, x, n, threshold=None, **moved):
    """Spike times of hidden layer `n` of one sample, with some of its numbers moved."""
    net = net.copy()
    layer = net.hidden[n - 1]
    fixed = net.threshold(n)
    for name, value in moved.items():
        if name == "t_max":
            return ttfs.forward(net.with_windows([value]), x).times[0][0]
        if name == "v_th":
            fixed = value
        else:
            setattr(layer, name, value)
    if threshold == "free":
        # The drift that leaves the threshold where it was.
        net.hidden[n - 1].drift = layer.drift + net.threshold(n) - fixed
    return ttfs.forward(net, x).times[n - 1][0]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("threshold", ["tied", "free"])
def test_local_derivatives(model, threshold):
    net, x, *_ = mapped(2, model, sizes=(8, 7, 4), samples=2, bias=0.5)
    x, h, layer = x[1:], 1e-6, net.hidden[0]
    found = ttfs.local_derivatives(net, x, 1, threshold=threshold)
    active = ttfs.forward(net, x).active[0][0]
    assert 2 <= active.sum() < 7

    def difference(name, value, index, step=h):
        ends = []
        for sign in (1, -1):
            moved = np.array(value, float)
            moved[index] += sign * step
            ends.append(spike_times(net, x, 1, threshold, **{name: moved}))
        return (ends[0] - ends[1]) / (2 * step)

    for i in range(7):
        for j in range(8):
            numeric = difference("weight", layer.weight, (i, j))[i]
            assert abs(numeric - found["W"][i, j]) <= 1e-7, (i, j)
        if threshold == "tied":
            assert abs(difference("drift", layer.drift, i)[i] - found["D"][i]) <= 1e-7
        else:
            assert abs(difference("v_th", net.threshold(1), i)[i] - found["v_th"][i]) <= 1e-7
        if model == "general":
            for name, key in (("a", "A"), ("b", "B")):
                numeric = difference(name, getattr(layer, name), i)[i]
                assert abs(numeric - found[key][i]) <= 1e-7, key
    for j in range(8):
        y = x.copy()
        y[0, j] += h
        later = ttfs.forward(net, y).times[0][0]  # x grows by h: the spike comes tau_c h earlier
        numeric = (later - ttfs.forward(net, x).times[0][0]) / (-h * net.tau_c)
        assert abs(numeric - found["t_in"][:, j]).max() <= 1e-7
    if threshold == "tied":
        ends = [spike_times(net, x, 1, t_max=net.widths[0] + s * h) for s in (1, -1)]
        assert abs((ends[0] - ends[1]) / (2 * h) - found["t_max"]).max() <= 1e-7


def test_free_thresholds_of_the_whole_network():
    # By the chain rule: a free threshold with the weights' slopes is a drift of the other sign.
    net, x, *_ = mapped(1, "alpha", sizes=(12, 9, 7, 5), samples=4)
    labels = np.arange(4)
    tied = ttfs.gradient(net, x, labels)[1]
    free = ttfs.gradient(net, x, labels, threshold="free")[1]
    for k, width in enumerate(net.widths):
        assert abs(free["v_th"][k] + tied["D"][k]).max() <= 1e-15
        assert (free["D"][k] == 0).all()
        # Tied, W raises the threshold by the width of the window: a rank-one difference.
        gap = free["W"][k] - tied["W"][k]
        wanted = -width * free["v_th"][k] / net.tau_c
        assert abs(gap - wanted[:, None]).max() <= 1e-12 * abs(wanted).max()
