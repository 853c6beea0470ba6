"""log.csv after an accident or an editor: whole again, or refused, and never without a word."""

import os

import pytest

from adf.runs import Settings, log

SETTINGS = Settings(steps=30)
LOSSES = [1.0986, 0.1 + 0.2, 5e-324, 1e22, 0.75]
LINES = [
    log.line(n, loss, SETTINGS.learning_rate_at(n - 1)) for n, loss in enumerate(LOSSES, start=1)
]
WHOLE = "step,loss,learning_rate\n" + "".join(LINES)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(WHOLE)
    return path


def cut(path, step=5):
    log.cut(path, step, SETTINGS.learning_rate_at)
    return path.read_text()


def test_what_came_after_the_checkpoint_is_cut_off(path, capsys):
    assert cut(path, 3) == "".join(WHOLE.splitlines(keepends=True)[:4])
    path.write_text(WHOLE + "6,0.5")
    assert cut(path) == WHOLE
    assert cut(path, 0) == "step,loss,learning_rate\n"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "damaged",
    [
        WHOLE,
        WHOLE[:-1],  # the last newline
        WHOLE[:-4],  # and the last digits of a rate, which is known
        "".join(LINES),  # the header
        WHOLE.replace("\n", "\r\n"),
        "\ufeff" + WHOLE,
        WHOLE + "\n\n",
        WHOLE + "".join(LINES),  # two wrote at once
        "".join(LINES[::-1]),
    ],
    ids=range(9),
)
def test_a_log_with_all_its_numbers_is_made_whole(path, damaged):
    path.write_text(damaged)
    assert cut(path) == WHOLE


@pytest.mark.parametrize(
    "strange", ["# a comment\n", "\0\xff\n", "7\n", "x" * 10**5 + "\n", "1;2;3\n", "-1,2,3\n"]
)
def test_lines_of_others_are_left_out_with_a_word(path, strange, capsys):
    for text in (strange + WHOLE, WHOLE + strange, WHOLE.replace(LINES[2], strange + LINES[2])):
        path.write_text(text, encoding="latin-1")
        assert cut(path) == WHOLE
        assert "left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "",
        "step,loss,learning_rate\n",
        WHOLE.replace(LINES[4], ""),  # the tail
        WHOLE.replace(LINES[0], ""),
        WHOLE.replace(LINES[2], ""),
        WHOLE[: -len(LINES[4]) + 6],  # in the middle of a number
        WHOLE[:-10],  # in the middle of the rate
        WHOLE.replace(LINES[2], "# " + LINES[2]),
        WHOLE.replace(LINES[2], LINES[2].replace("5e-324", "nan")),
        WHOLE.replace(LINES[1] + LINES[2], LINES[1][:-1] + LINES[2]),
        WHOLE + LINES[2].replace("5e-324", "0.5"),  # two losses of one step
        "".join(LINES).replace(",", ";"),
    ],
    ids=range(12),
)
def test_a_log_that_lost_numbers_is_refused_as_it_is(path, text):
    path.write_text(text)
    with pytest.raises(ValueError, match=r"log\.csv: expected a line for each of the 5") as refused:
        cut(path)
    assert len(str(refused.value).splitlines()) == 1
    assert path.read_text() == text and os.listdir(path.parent) == ["log.csv"]


def test_a_log_that_is_gone_begins_anew_with_a_word(path, capsys):
    path.unlink()
    assert cut(path) == "step,loss,learning_rate\n"
    assert "is gone: a new one begins with step 6" in capsys.readouterr().err


def test_a_new_run_does_not_take_the_log_of_another(path):
    with pytest.raises(ValueError, match="of another training"):
        log.begin(path)
    assert path.read_text() == WHOLE
    for text in ("step,loss,learning_rate\n", ""):  # a run that was killed at its very beginning
        path.write_text(text)
        log.begin(path)
        assert path.read_text() == "step,loss,learning_rate\n"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_log_that_is_no_file_is_refused_at_once(path):
    path.unlink()
    os.mkfifo(path)
    for take in (cut, log.begin):
        with pytest.raises(ValueError, match="a regular file, got a pipe"):
            take(path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(ValueError, match="a regular file, got a device"):
        cut(path)
