"""Settings out of a file or off a command line: right, or refused in one short line."""

import dataclasses
import tracemalloc

import pytest

from adf.runs import SYSTEMS, Settings

INTEGERS = ("steps", "batch_size", "seed", "version", "classes", "calibration_steps")
INTEGERS += ("members", "swag_steps")
FLOATS = ("learning_rate", "noise_var", "label_smoothing", "density_weight", "raw_c")
FLOATS += ("dropout_p", "swag_rate", "kl_weight")
HUGE = 10**400
WRONG = [(name, value) for name in INTEGERS for value in (True, "7", 1.0, -1, HUGE, [1], {})]
WRONG += [(name, value) for name in ("steps", "batch_size", "version") for value in (0, None)]
WRONG += [
    (name, value)
    for name in FLOATS
    for value in (True, "1", HUGE, -HUGE, float("nan"), float("inf"), [0.1], 1j)
]
WRONG += [
    (name, value)
    for name in ("system", "data", "augment", "noise")
    for value in (None, 1, ["none"])
]
WRONG += [("system", "x" * 10**6), ("augment", "x" * 10**6), ("noise", "x" * 10**6)]
WRONG += [
    ("widths", value)
    for value in ([1] * 3000, [], [0], [-1], [16, HUGE], [True], [1.0], ["16"], "16", 16, None, {})
]
WRONG += [
    ("class_names", value)
    for value in (["a"], ["a"] * 7, ["a", 1], "ab", None, {"a": 1, "b": 2}, ["a", "x" * 10**6])
]


@pytest.mark.parametrize("name, value", WRONG, ids=lambda value: str(type(value).__name__))
def test_a_wrong_setting_is_one_short_line(name, value):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="expected") as refused:
            Settings(**{name: value})
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()
    message = str(refused.value)
    assert len(message) < 300 and len(message.splitlines()) == 1
    assert name in message or name in ("widths", "class_names", "version")


def test_calibration_follows_training_where_there_is_noise():
    settings = Settings(steps=100, learning_rate=2.0, calibration_steps=40)
    assert settings.all_steps == 140
    assert settings.rate_at(99) == settings.learning_rate_at(99)
    assert settings.rate_at(100) == pytest.approx(0.05 / 10)
    assert settings.rate_at(120) == pytest.approx(0.05 / 2)
    assert settings.rate_at(140) == pytest.approx(0)
    assert Settings(calibration_steps=0).all_steps == Settings.steps
    for without in ({"noise_var": 0.0}, {"system": "unet-bn"}):
        assert Settings.of(without).all_steps == Settings.steps


@pytest.mark.parametrize("system", SYSTEMS)
def test_right_settings_come_back_as_they_are(system):
    settings = Settings.of({"system": system, "seed": 2**63, "steps": 1, "classes": 5})
    assert Settings(**dataclasses.asdict(settings)) == settings
    learner = SYSTEMS[system].learner(dataclasses.replace(settings, seed=1))
    numbers = 3 * sum(p.value.size for p in learner.segmenter.parameters())
    assert 0 <= settings.least_numbers() <= numbers
    assert system == "adf-deeplabv3plus" or settings.least_numbers() > numbers / 3
