"""Layers and losses: their backward passes, and their outputs against plain loops."""

import numpy as np
import pytest

from reference import layers
from reference.finite_difference import check
from reference.losses import softmax

rng = np.random.default_rng(7)


def normal(*shape):
    return rng.standard_normal(shape)


def gradients(layer, x, **options):
    """Check a layer whose answer is (output, pull, ...); a tuple is several arguments."""

    def run(x):
        return layer(*x) if isinstance(x, tuple) else layer(x)

    return check(
        lambda x: run(x)[0], lambda x, c: run(x)[1](c), x, rtol=1e-8, require=True, **options
    )


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_dense(lead):
    x, w, b = normal(*lead, 4), normal(5, 4), normal(5)
    assert np.allclose(layers.dense(x, w, b)[0], np.einsum("...i,oi->...o", x, w) + b, atol=1e-13)
    gradients(layers.dense, (x, w, b))
    assert layers.dense(x, w)[1](normal(*lead, 5))[2] is None


def loop_conv(x, w, b, stride, padding, groups):
    """The definition, pixel by pixel."""
    padded = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    out, per, kh, kw = w.shape
    rows = (padded.shape[2] - kh) // stride[0] + 1
    columns = (padded.shape[3] - kw) // stride[1] + 1
    y = np.zeros((len(x), out, rows, columns))
    for n, o, r, c in np.ndindex(*y.shape):
        first = o // (out // groups) * per
        top, left = r * stride[0], c * stride[1]
        window = padded[n, first : first + per, top : top + kh, left : left + kw]
        y[n, o, r, c] = np.sum(window * w[o]) + b[o]
    return y


CONVOLUTIONS = [
    dict(stride=(1, 1), padding=(0, 0), groups=1, kernel=(3, 3)),
    dict(stride=(2, 2), padding=(1, 1), groups=1, kernel=(3, 3)),
    dict(stride=(2, 1), padding=(0, 2), groups=2, kernel=(2, 3)),
    dict(stride=(2, 2), padding=(0, 0), groups=1, kernel=(1, 1)),
    dict(stride=(1, 2), padding=(1, 1), groups=4, kernel=(3, 2)),
]


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_conv2d(case):
    options = {name: case[name] for name in ("stride", "padding", "groups")}
    x = normal(2, 4, 6, 7)
    w, b = normal(8, 4 // case["groups"], *case["kernel"]), normal(8)
    y, _ = layers.conv2d(x, w, b, **options)
    assert np.allclose(y, loop_conv(x, w, b, **options), rtol=0, atol=1e-12)
    gradients(lambda *a: layers.conv2d(*a, **options), (x, w, b))
    many, pull = layers.conv2d(np.stack([x, x]), w, **options)
    assert many.shape == (2, *y.shape) and pull(many)[2] is None
    assert pull(many)[0].shape == (2, *x.shape)


@pytest.mark.parametrize("case", [(2, None, 0), ((3, 2), (2, 1), 1), (3, 2, (1, 0))])
@pytest.mark.parametrize("pool", [layers.average_pool, layers.max_pool])
def test_pools(pool, case):
    size, stride, padding = case
    x = normal(2, 3, 7, 6)

    def layer(x):
        return pool(x, size, stride=stride, padding=padding)

    structure = None
    if pool is layers.max_pool:

        def structure(x):
            y, pull = layer(x)
            return pull(np.ones(y.shape)).tobytes()

    gradients(layer, x, structure=structure)
    y, _ = layer(x)
    (kh, kw), (down, right) = np.broadcast_to(size, 2), np.broadcast_to(stride or size, 2)
    top, left = np.broadcast_to(padding, 2)
    is_max = pool is layers.max_pool
    padded = np.pad(
        x, ((0, 0), (0, 0), (top, top), (left, left)), constant_values=-np.inf if is_max else 0
    )
    for r, c in np.ndindex(*y.shape[2:]):
        window = padded[:, :, r * down : r * down + kh, c * right : c * right + kw]
        expected = window.max(axis=(2, 3)) if is_max else window.mean(axis=(2, 3))
        assert np.allclose(y[:, :, r, c], expected, rtol=0, atol=1e-13)


def test_the_first_of_equal_maxima_gets_the_gradient():
    _, pull = layers.max_pool(np.ones((1, 2, 2)), 2)
    assert pull(np.ones((1, 1, 1))).tolist() == [[[1, 0], [0, 0]]]


@pytest.mark.parametrize("keep", [-1, 2, (0, 2)])
@pytest.mark.parametrize("fixed", [False, True])
def test_batch_norm(keep, fixed):
    """S9: statistics over time, samples and space; training and inference."""
    x = normal(3, 4, 5) if keep == -1 else normal(3, 4, 5, 2, 2)
    shape = tuple(x.shape[axis] for axis in np.atleast_1d(keep))
    gamma, beta = normal(*shape), normal(*shape)
    given = (normal(*shape), np.exp(normal(*shape))) if fixed else None

    def layer(*a):
        return layers.batch_norm(*a, keep=keep, fixed=given)

    gradients(layer, (x, gamma, beta))
    y, _, found = layer(x, gamma, beta)
    kept = tuple(axis % x.ndim for axis in np.atleast_1d(keep))
    over = tuple(axis for axis in range(x.ndim) if axis not in kept)
    mean, var = given or (x.mean(axis=over), x.var(axis=over))
    for k in np.ndindex(*shape):
        at = tuple(k[kept.index(a)] if a in kept else slice(None) for a in range(x.ndim))
        expected = gamma[k] * (x[at] - mean[k]) / np.sqrt(var[k] + 1e-5) + beta[k]
        assert np.allclose(y[at], expected, rtol=0, atol=1e-12)
    assert found.size == x.size // np.prod(shape)


def test_one_scale_for_all_channels_gets_the_sum_of_their_gradients():
    x, c = normal(3, 4, 5), normal(3, 4, 5)
    wide = layers.batch_norm(x, np.full(5, 2.0), np.zeros(5), keep=-1)[1](c)
    one = layers.batch_norm(x, 2.0, np.zeros(1), keep=-1)[1](c)
    assert np.array_equal(one[0], wide[0])
    assert np.isclose(one[1], wide[1].sum(), rtol=1e-13) and one[2].shape == (1,)


def test_running_statistics_are_folded_into_the_weights():
    """S10: what a dense layer, or a convolution, and its batch norm do at inference."""
    gamma, beta = normal(6), normal(6)
    running = (np.zeros(6), np.ones(6))
    for layer, x, w, keep in (
        (layers.dense, normal(4, 3, 5), normal(6, 5), -1),
        (layers.conv2d, normal(4, 3, 2, 5, 5), normal(6, 2, 3, 3), 2),
    ):
        b = normal(6)
        current, _ = layer(x, w, b)
        *_, found = layers.batch_norm(current, gamma, beta, keep=keep)
        mean, var = layers.running_statistics(running, found, momentum=0.5)
        y, *_ = layers.batch_norm(current, gamma, beta, keep=keep, fixed=(mean, var))
        folded, _ = layer(x, *layers.fold_batch_norm(w, b, gamma, beta, mean, var))
        assert np.allclose(y, folded, rtol=0, atol=1e-12)
        over = tuple(a for a in range(current.ndim) if a != keep % current.ndim)
        assert np.allclose(mean, 0.5 * current.mean(axis=over))
        assert np.allclose(var, 0.5 + 0.5 * current.var(axis=over, ddof=1))


def test_residual_and_flatten():
    gradients(layers.add, (normal(2, 3), normal(2, 3)))
    gradients(lambda x: layers.flatten(x, 2), normal(2, 3, 2, 2))
    with pytest.raises(ValueError, match="one shape"):
        layers.add(normal(2), normal(3))


def test_losses():
    logits, labels = 3 * normal(5, 4, 10), rng.integers(0, 10, 4)
    gradients(lambda o: layers.softmax_cross_entropy(o, labels), logits)
    loss, _ = layers.softmax_cross_entropy(logits, labels)
    picked = [softmax(logits)[:, b, y] for b, y in enumerate(labels)]
    assert np.isclose(loss, -np.mean(np.log(picked)), rtol=1e-13)
    assert np.isfinite(layers.softmax_cross_entropy(1e5 * logits, labels)[0])
    target = normal(10)
    gradients(lambda o: layers.mean_squared_error(o, target), logits)
    with pytest.raises(ValueError, match=r"labels\[0, 1\] is 10"):
        layers.softmax_cross_entropy(logits, [0, 10, 0, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_leaves_its_dtype(dtype):
    def of(*shape):
        return normal(*shape).astype(dtype)

    dtype = np.dtype(dtype)
    x, images = of(3, 4, 5), of(3, 2, 4, 6, 6)
    for y, pull, *_ in (
        layers.dense(x, of(6, 5), of(6)),
        layers.conv2d(images, of(6, 2, 3, 3), of(6), groups=2, padding=1),
        layers.average_pool(images, 2),
        layers.max_pool(images, 3, stride=2, padding=1),
        layers.batch_norm(images, of(4), of(4), keep=2),
        layers.batch_norm(x, of(5), of(5), keep=-1, fixed=(of(5), of(5) ** 2)),
        layers.flatten(images, 2),
    ):
        back = pull(y)
        assert y.dtype == dtype
        assert {g.dtype for g in (back if isinstance(back, tuple) else (back,))} == {dtype}
    assert layers.softmax_cross_entropy(x, [1, 2, 0, 0])[1]().dtype == dtype
    assert layers.mean_squared_error(x, 0.0)[1](2.0).dtype == dtype


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layers.dense(normal(3, 4), normal(4, 5)), "n_in"),
        (lambda: layers.conv2d(normal(1, 3, 4, 4), normal(2, 2, 3, 3)), "x has 3"),
        (lambda: layers.conv2d(normal(1, 2, 2, 2), normal(2, 2, 3, 3)), "does not fit"),
        (lambda: layers.conv2d(normal(1, 2, 2, 2), normal(2, 2, 1, 1), stride=0), "stride"),
        (lambda: layers.max_pool(normal(1, 2, 2, 2), 2, padding=2), "half the window"),
        (lambda: layers.batch_norm(normal(1, 1, 3), 1.0, 0.0, keep=-1), "two values"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
