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
