"""The thread of the course: its network, its pixel, its books.

They are in notebooks/course.py, pixel.py and books.py.
"""

import os

os.environ["FAST"] = "1"  # before the course is imported: fewer samples

import books
import course
import matplotlib
import numpy as np
import pixel
import pytest

import adf
from adf import Gaussian
from adf.data.synthetic import CELL
from adf.layers import MaxPool2d
from adf.studies.verification import reference


def test_the_network_segments():
    """On the whole photograph, which the training has not seen.

    The network sees 20 pixels in each direction, less than a trap is long.
    """
    images, labels = pixel._photograph()
    found = adf.predict(course.segmenter(), images).labels
    for c, least in enumerate((0.95, 0.6, 0.6)):
        dice = 2 * ((found == c) & (labels == c)).sum() / ((found == c).sum() + (labels == c).sum())
        assert dice > least, (c, dice)
    assert course.segmenter().noise_var == course.NOISE_VAR


def test_the_second_network_was_trained_at_another_weight_of_the_loss():
    """What it is given is the same, and it has other weights."""
    one, other = course.segmenter(), course.segmenter(1e-3)
    assert (one.density_weight, other.density_weight) == (1, 1e-3)
    x, same = (s.input(pixel._photograph()[0]) for s in (one, other))
    assert (x.mean == same.mean).all() and (x.var == same.var).all()
    pairs = zip(one.network.parameters(), other.network.parameters(), strict=True)
    assert all(p.value.shape == q.value.shape and (p.value != q.value).any() for p, q in pairs)


def test_our_pixel_is_a_cells_and_has_a_neighbour_outside():
    (row, column), cell = course.PIXEL, course.labels() == CELL
    assert cell[row, column]
    assert not all(
        (cell[row - 1, column], cell[row + 1, column], cell[row, column - 1], cell[row, column + 1])
    )
    x = course.image()
    assert (
        x.mean.shape == (1, 1, 32, 32)
        and x.mean.dtype == np.float32
        and np.all(x.var == np.float32(0.05))
    )


def test_the_steps_are_the_network():
    """To the bit, and every layer once."""
    network, x = course.network(), course.image()
    walk = course.steps(network)
    for given in x, Gaussian(x.mean):
        state, expected = (given,), network.predict(given)
        for step in walk:
            state = step(state)
        assert len(state) == 1
        assert all(
            a is b is None or (a == b).all() for a, b in zip(state[0], expected, strict=True)
        )
    assert len({step.name for step in walk}) == len(walk) == 35
    assert sum(len(step.layer.parameters()) for step in walk) == len(network.parameters())


def test_the_stations_are_those_of_compare():
    """The last one against adf.montecarlo.compare, which knows no steps."""
    stations = course.biography()
    last = stations[-1]
    c = adf.montecarlo.compare(course.network(), course.image(), samples=500, rng=1, chunk=1 << 16)
    row, column = course.PIXEL
    channel = c.var[0, :, row, column].argmax()
    assert last.adf.var == pytest.approx(c.var[0, channel, row, column], rel=1e-6)
    assert last.samples.var(ddof=1) == pytest.approx(
        c.sampled_var[0, channel, row, column], rel=0.5
    )
    assert stations[0].name == "image" and {len(station.samples) for station in stations} == {
        course.SAMPLES
    }


@pytest.mark.slow
def test_the_books_balance(capsys):
    *entries, total, gap, remainder = course.account()
    printed = capsys.readouterr().out
    assert total.error == pytest.approx(sum(entry.error for entry in entries), abs=1e-12)
    assert remainder.error == pytest.approx(gap.error - total.error, abs=1e-12)
    assert remainder.low < 0 < remainder.high and remainder.high < 0.2 * gap.error
    by_cause = {entry.cause: entry for entry in entries}
    assert max(abs(x) for x in by_cause["norm, nothing"][2:]) < 1e-12
    assert abs(by_cause["float32, rounding"].error) < 1e-5
    assert by_cause["linear, independence"].low > 1 and by_cause["pooling, order"].high < 0
    assert [entry for kind in books.KINDS for entry in course.account(kind)] == sorted(
        entries, key=lambda entry: books.KINDS.index(entry.cause.split(",")[0])
    )
    assert set(capsys.readouterr().out.splitlines()) == set(printed.splitlines()[: len(entries)])
    with pytest.raises(ValueError, match="expects one of linear"):
        course.account("relu")


def test_a_kind_gets_wrong_what_the_books_say():
    """Each layer is exact for a product of Gaussians.

    All but the kink are exact for any independent inputs, too.
    """
    rng, walk = np.random.default_rng(0), course.steps(course.network("float64"))
    x = Gaussian(rng.normal(size=(1, 8, 4, 4)), rng.uniform(0.1, 1, (1, 8, 4, 4)))
    for name in "conv 1.2", "batch norm 1.2", "leaky ReLU 1.2":
        layer = next(step.layer for step in walk if step.name == name)
        c = adf.montecarlo.compare(layer, x, samples=10_000)
        assert max(abs(c.mean_z).max(), abs(c.var_z).max()) < adf.montecarlo.bound(
            2 * c.mean.size
        ), name
        skewed = x.mean + np.sqrt(x.var) * (rng.exponential(size=(10_000, *x.mean.shape[1:])) - 1)
        var = layer.predict(Gaussian(skewed)).mean.var(axis=0)
        same = np.allclose(var, layer.predict(x).var, rtol=0.15)
        assert same == (name != "leaky ReLU 1.2")


def test_the_largest_of_four():
    rng = np.random.default_rng(0)
    x = Gaussian(rng.normal(size=(1, 2, 4, 6)), 10 ** rng.uniform(-1, 1, (1, 2, 4, 6)))
    y = books.largest_of_four(x)
    assert y.mean.shape == MaxPool2d(2).predict(x).mean.shape
    for place in np.ndindex(y.mean.shape):
        n, c, i, j = place
        window = (n, c, slice(2 * i, 2 * i + 2), slice(2 * j, 2 * j + 2))
        truth = reference.maximum_of_many(x.mean[window].ravel(), np.sqrt(x.var[window].ravel()))
        np.testing.assert_allclose((y.mean[place], y.var[place]), truth, rtol=1e-8, atol=1e-8)


def test_the_jackknife_removes_the_bias_of_a_logarithm():
    """A variance of 1 is sampled in groups as the books have them: the mean of many logs is 0."""
    rng, found = np.random.default_rng(0), []
    for _ in range(300):
        parts = [
            books._moments(rng.standard_normal((books.GROUP, 1, 1, 1))) for _ in range(books.GROUPS)
        ]
        found.append(books._jackknife(np.log(books._pooled(parts).var[:, 0, 0, 0])))
    error, low, high = np.array(found).T
    n = books.GROUPS * books.GROUP
    assert abs(error.mean()) < 4 * np.sqrt(2 / n / 300)
    assert np.mean((low < 0) & (high > 0)) == pytest.approx(0.99, abs=0.025)


@pytest.mark.slow
def test_the_pictures_show_what_was_printed(capsys):
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    course.draw(course.biography()[:2])
    titles = [axes.get_title() for axes in plt.gcf().axes]
    assert titles[0].startswith("image") and titles[1].startswith("conv 1.1")
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "image",
        "conv 1.1",
    ]
    entries = course.account()
    course.waterfall(entries)
    assert len(plt.gcf().axes[0].patches) == len(entries)
    plt.close("all")
