"""Errors of public code about the doubt about weights, and what harm they do.

As in test_known_errors.py, each test shows that the naive rule is wrong by its stated amount on the
stated input, and that ours is right on the same. Names in brackets are those of the code.
"""

import numpy as np
import pytest

from adf.studies.verification import mistakes_of_weights as mistakes

# Ensembles


def test_averaged_logits_hide_that_members_contradict_each_other():
    """[csgmcmc, bayesian-peft] Mixture: 0.487 for the class in dispute; of mean logits: 1/3."""
    found = mistakes.logits_averaged()
    assert found.truth[0] == pytest.approx(0.487, abs=5e-4)
    assert found.naive[0] == pytest.approx(1 / 3, rel=1e-12)
    assert found.ours[0] == pytest.approx(found.truth[0], rel=1e-14)


def test_information_as_a_difference_of_entropies_is_negative():
    """In float32, where members agree to 1e-4: below 0 in a fifth of the pixels or more.

    The largest error is 50 times the mean truth or more. Ours is never negative, and right to
    1e-6 where there is more than 1e-12 of it.
    """
    found = mistakes.entropies_subtracted()
    truth = found.truth.astype(float)
    assert np.mean(found.naive < 0) > 0.2
    assert abs(found.naive - truth).max() > 50 * truth.mean()
    assert (found.ours >= 0).all()
    clear = truth > 1e-12
    assert clear.mean() > 0.9
    np.testing.assert_allclose(found.ours[clear], truth[clear], rtol=1e-6)


# Monte Carlo dropout


def test_dropout_that_is_off_in_prediction_has_no_doubt():
    """[SalsaNext, MONAILabel, mmsegmentation] The variance is exactly 0.

    Ours is that of 20,000 masks: five standard errors are less than 6 %, for the fourth central
    moment of a sum is at most about 3 squared variances.
    """
    found = mistakes.dropout_off()
    assert found.naive[0] == 0
    assert found.ours[0] == pytest.approx(found.truth[0], rel=0.06)


def test_a_network_in_training_mode_sees_the_neighbours_of_an_image():
    """[lightning-uq-box, alibi-detect, neon] 3.87 for the pixel alone, -0.81 beside another image.

    The running averages give 1 both times.
    """
    found = mistakes.training_mode()
    assert found.naive == pytest.approx([3.87, -0.81], abs=0.01)
    assert found.ours == pytest.approx(found.truth, rel=1e-5)


def test_masks_of_pixels_average_out_in_a_window():
    """The variance of a 5 x 5 mean is 25 times too small, 0.0171 for 0.4286.

    20,000 windows: five standard errors are at most 5 %.
    """
    found = mistakes.masks_of_pixels()
    assert found.naive[0] == pytest.approx(found.truth[0] / 25, rel=0.06)
    assert found.ours[0] == pytest.approx(found.truth[0], rel=0.06)


# SWAG


def test_a_scale_of_one_doubles_the_variance():
    """[swa_gaussian's default, torch-uncertainty] 1.81 for 0.907.

    4 million draws of variances that scatter by a third of themselves: the bound is 1 %.
    """
    found = mistakes.scale_of_one()
    assert found.naive[0] == pytest.approx(2 * found.truth[0], rel=0.01)
    assert found.ours[0] == pytest.approx(found.truth[0], rel=0.01)


def test_the_rank_that_may_be_is_not_the_rank_that_is():
    """[swa_gaussian] The low-rank part is 19 / 4 times too small with 5 of 20 collected."""
    found = mistakes.few_collected()
    assert found.truth[0] / found.naive[0] == pytest.approx(19 / 4, rel=1e-9)
    assert found.ours[0] == pytest.approx(found.truth[0], rel=0.03)


def test_a_variance_is_no_standard_deviation():
    """[drbayes, understandingbdl] Draws are 98 times too narrow where weights scatter by 0.01."""
    found = mistakes.variance_for_deviation()
    assert 90 < found.truth[0] / found.naive[0] < 105
    assert found.ours[0] == pytest.approx(found.truth[0], rel=0.01)


def test_layers_that_draw_apart_lose_their_covariance():
    """[torch-uncertainty] 0 for 0.432: half of what the deviations keep of a covariance of 1.

    A draw has 20 numbers for all pairs, so its covariance scatters by 0.432 sqrt(2 / 20), and the
    mean of 200 by 0.0097: the bound is five of these.
    """
    found = mistakes.layers_apart()
    assert found.truth[0] == pytest.approx(0.432, abs=1e-3)
    assert abs(found.naive[0]) < 0.05
    assert found.ours[0] == pytest.approx(found.truth[0], abs=0.05)


def test_squares_that_are_subtracted_leave_a_clamp():
    """Where weights near 1 scatter by 1e-4, float32 loses the variance; a clamp then is the sd.

    More than a fifth of the variances are negative or off by their size; with the clamp of 1e-6
    [torch-uncertainty] every standard deviation is 1e-3: ten times the true one.
    """
    found = mistakes.squares_subtracted(clamp=-1.0)
    assert np.mean((found.naive < 0) | (abs(found.naive / found.truth - 1) > 1)) > 0.2
    np.testing.assert_allclose(found.ours, found.truth, rtol=1e-6)
    clamped = mistakes.squares_subtracted(clamp=1e-6)
    assert np.sqrt(clamped.naive).min() >= 0.999e-3
    assert np.median(np.sqrt(clamped.naive / clamped.truth)) > 9


def test_batch_norm_with_the_averages_of_another_network():
    """[swa, keras-swa] The variance behind it is 1.69 for 1, the square of 1.3."""
    found = mistakes.averages_of_another()
    assert found.naive[0] == pytest.approx(1.69, rel=0.05)
    assert found.ours[0] == pytest.approx(1, rel=1e-4)


# Bayes by Backprop


@pytest.mark.parametrize(
    "weight, times",
    [(100.0, 91), (1e-4, 1e-4)],
    ids=["once for each of 100 batches [blitz]", "the mean of 10,000 weights [bayesian-torch]"],
)
def test_a_kl_of_another_weight_is_another_posterior(weight, times):
    """A variance 91 times too large, or 10,000 times too small. Ours: by its KL's differences."""
    found = mistakes.kl_weight(weight)
    assert found.naive[0] / found.truth[0] == pytest.approx(times, rel=2e-3)
    assert found.ours[0] == pytest.approx(found.truth[0], rel=1e-4)


@pytest.mark.parametrize(
    "find, naive, truth",
    [
        (mistakes.variance_for_sigma, 60.3, 0.818),
        (mistakes.swapped, 47.2, 1.81),
        (mistakes.density_with_floor, -13.8, -50.9),
    ],
    ids=["a variance for a sigma [bayesian-torch]", "q and p swapped", "1e-6 added [blitz]"],
)
def test_a_wrong_kl_is_off_by_many_nats(find, naive, truth):
    found = find()
    assert found.naive[0] == pytest.approx(naive, rel=5e-3)
    assert found.truth[0] == pytest.approx(truth, rel=5e-3)
    assert found.ours[0] == pytest.approx(found.truth[0], rel=1e-9)


def test_a_width_that_begins_at_nothing_stays_there():
    """[blitz] 320 steps of Adam take sigma from 0.0009 to 0.0045; the optimum is 0.1.

    Ours begins at a tenth of it and has ten times the rate: within 1 %.
    """
    found = mistakes.width_that_stays()
    assert 0.004 < found.naive[0] < 0.005
    assert found.ours[0] == pytest.approx(found.truth[0], rel=0.01)
