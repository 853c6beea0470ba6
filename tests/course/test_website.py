"""The website of the course: links between files become links between pages, or stop the build."""

import re

import pytest
import website

import adf


def test_links_lead_to_pages():
    lesson = next(path for path in website.paths() if path.parent == website.NOTEBOOKS)
    here = (
        f'<a href="solutions/{lesson.name}">s</a>'
        '<a class="b" href="../adf/gaussian.py#L6"><img src="overview.png">'
    )
    text, targets = website.relinked(here, lesson)
    solutions = f"solutions/{lesson.stem}.html"
    assert re.findall(r'(?:href|src)="([^"]*)"', text) == [
        solutions,
        "../adf/gaussian.py.html#L6",
        "overview.png",
    ]
    assert all(target.exists() for target in targets) and len(targets) == 3
    for address in "https://example.org/a.ipynb", "#section":
        same = f'<a href="{address}">'
        assert website.relinked(same, lesson) == (same, [])
    with pytest.raises(FileNotFoundError, match=r"links to ../adf/nothing.py"):
        website.relinked('<a href="../adf/nothing.py">', lesson)


def test_every_page_of_the_library_has_its_links():
    """The map, the reference, a source, a folder: what they link to exists, line numbers too."""
    folder = website.ROOT / "adf" / "layers"
    for path in (
        website.INDEX,
        website.REFERENCE,
        website.ROOT / "adf" / "moments.py",
        folder,
        website.ROOT / "README.md",
    ):
        text, targets = website.relinked(website.page(path), path)
        assert targets and text.startswith("<!DOCTYPE html>")
    reference = website.reference()
    assert all(f'id="{name}"' in reference for name in adf.__all__)
    for name, line in re.findall(r'href="([^"]+)#L(\d+)"', reference):
        assert f'id="L{line}"' in website.source(website.ROOT / name), (name, line)


def test_a_notebook_leads_on():
    lessons = [path for path in website.paths() if path.parent == website.NOTEBOOKS]
    bar = website.around(lessons[1])
    assert (
        lessons[0].name in bar
        and lessons[2].name in bar
        and "../index.html" in bar
        and "Solutions" in bar
    )
    assert "Lesson" in website.around(website.NOTEBOOKS / "solutions" / lessons[0].name)
