"""`make book`: the course as a website in book/, to be opened at book/index.html.

The book has the lessons and their solutions as they are stored, a map of them, a reference made of
the docstrings of the library, and every file of the repository that one of these links to: sources
with line numbers, Markdown, pictures. So no link between pages is dead; a link to a file that does
not exist stops the build. Formulas are set by MathJax, which a browser loads from the network; all
else is here.
"""

import html
import inspect
import os
import re
import shutil
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
from execute import NOTEBOOKS, paths
from nbconvert import HTMLExporter
from nbconvert.filters import markdown2html
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_for_filename
from tqdm import tqdm

sys.path.insert(0, str(NOTEBOOKS.parent))  # adf lies next to this folder: nothing to install

import adf

ROOT, BOOK = NOTEBOOKS.parent, NOTEBOOKS.parent / "book"
INDEX, REFERENCE = ROOT / "index.html", ROOT / "reference.html"  # as if they lay there
TEXT = {".py", ".toml", ".txt", ".csv", ".cfg", ""}
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ max-width: 64rem; margin: 0 auto; padding: 1rem; font: 1rem/1.5 sans-serif; }}
pre {{ overflow-x: auto; font-size: 0.8rem; line-height: 1.4; }}
table {{ border-collapse: collapse; }} \
td, th {{ padding: 0.25rem 0.75rem; border: 1px solid #ccc; text-align: left; }}
img {{ max-width: 100%; }} .linenos a {{ color: #777; text-decoration: none; }} \
:target {{ background: #ffd; }}
{pygments}
</style>
<script type="text/x-mathjax-config">\
MathJax.Hub.Config({{tex2jax: {{inlineMath: [["$", "$"]]}}}});</script>
<script src="{mathjax}"></script></head><body>{body}</body></html>
"""
BAR = '<nav style="padding: 0.5rem; font: 1rem sans-serif">{}</nav>'


def main():
    shutil.rmtree(BOOK, ignore_errors=True)
    waiting, done = [INDEX, REFERENCE, *paths()], set()
    with tqdm(unit=" pages", desc="book") as bar:
        while waiting:
            path = waiting.pop(0)
            if path in done:
                continue
            done.add(path)
            out = site(path)
            out.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir() or path.suffix in {".html", ".ipynb", ".md"} | TEXT:
                text, targets = relinked(page(path), path)
                out.write_text(text, encoding="utf-8")
                waiting += targets
            else:
                shutil.copyfile(path, out)
            bar.update()
    print("The course, to be opened in a browser:", os.path.relpath(site(INDEX)))


def site(path):
    """Where the page of a file or folder of the repository lies."""
    inside = BOOK / path.relative_to(ROOT)
    if path.is_dir():
        return inside / "index.html"
    if path.suffix == ".ipynb":
        return inside.with_suffix(".html")
    return inside.with_name(inside.name + ".html") if path.suffix in {".md"} | TEXT else inside


def relinked(text, path):
    """(text, targets): the page of `path`, and the files that it links to.

    Links between files become links between pages.
    """
    targets = []

    def link(match):
        address = urlsplit(html.unescape(match[2]))
        if address.scheme or address.netloc or not address.path:
            return match[0]
        target = (path.parent / unquote(address.path)).resolve()
        if not (target.exists() or target in (INDEX, REFERENCE)):
            raise FileNotFoundError(
                f"{path.relative_to(ROOT)} links to {address.path}, which does not exist"
            )
        targets.append(target)
        to = os.path.relpath(site(target), site(path).parent) + (
            f"#{address.fragment}" if address.fragment else ""
        )
        return f'{match[1]}"{html.escape(to)}"'

    return re.sub(r'(<(?:a|img)\b[^>]*?\s(?:href|src)=)"([^"]*)"', link, text), targets


def page(path):
    """The HTML of one page, its links still those of the repository."""
    home = BAR.format(f'<a href="{os.path.relpath(INDEX, path.parent)}">The course</a>')
    if path.suffix == ".ipynb":
        text, _ = HTMLExporter().from_notebook_node(nbformat.read(path, as_version=4))
        return re.sub(r"<body[^>]*>", lambda body: body[0] + around(path), text, count=1)
    if path == INDEX:
        body = course()
    elif path == REFERENCE:
        body = home + reference()
    elif path.is_dir():
        files = sorted(file.name for file in path.glob("*.py"))
        body = (
            home
            + "<ul>"
            + "".join(f'<li><a href="{path.name}/{name}">{name}</a></li>' for name in files)
            + "</ul>"
        )
    elif path.suffix == ".md":
        body = home + markdown2html(path.read_text(encoding="utf-8"))
    else:
        body = home + f"<h1>{path.relative_to(ROOT)}</h1>" + source(path)
    title = "The course" if path == INDEX else html.escape(str(path.relative_to(ROOT)))
    style = HtmlFormatter().get_style_defs(".highlight")
    return PAGE.format(title=title, body=body, pygments=style, mathjax=HTMLExporter().mathjax_url)


def source(path):
    """A file with line numbers, each of which can be linked to, as on GitHub.

    An example is gaussian.py.html#L6.
    """
    lexer = get_lexer_for_filename(path.name if path.suffix == ".py" else "plain.txt")
    text = highlight(
        path.read_text(encoding="utf-8"), lexer, HtmlFormatter(linenos="inline", linespans="L")
    )
    return text.replace('<span id="L-', '<span id="L')


def around(path):
    """The bar above a notebook.

    It links to the map, the lesson before and behind, and the solutions or the lesson.
    """
    here, files = path.parent, paths()
    lessons = [file for file in files if file.parent == NOTEBOOKS]
    i = lessons.index(NOTEBOOKS / path.name)
    beside = NOTEBOOKS / "solutions" / path.name if here == NOTEBOOKS else NOTEBOOKS / path.name
    links = {"The course": INDEX}
    if here == NOTEBOOKS:
        links |= {f"{way} {file.stem[:2]}": file for way, file in (("←", lessons[i - 1]),) if i}
        links |= {f"{file.stem[:2]} →": file for file in lessons[i + 1 : i + 2]}
    links |= {"Solutions" if here == NOTEBOOKS else "Lesson": beside} if beside in files else {}
    return BAR.format(
        " · ".join(
            f'<a href="{os.path.relpath(to, here)}">{name}</a>' for name, to in links.items()
        )
    )


def paragraph(name, text):
    """What stands behind **name** in Markdown, up to a blank line, as HTML without links."""
    found = re.search(rf"\*\*{re.escape(name)}\*\* *(.*?)(?:\n\n|\Z)", text, re.DOTALL)
    return re.sub(r"</?a\b[^>]*>", "", markdown2html(found[1]))


def course():
    """The map: every lesson, its question (without its links), how long it takes, its solutions."""
    rows = []
    for path in (path for path in paths() if path.parent == NOTEBOOKS):
        first = nbformat.read(path, as_version=4).cells[0].source
        title = re.search(r"^# (.*)", first, re.MULTILINE)[1]
        question, time = (paragraph(name, first) for name in ("The question.", "Time:"))
        links = f'<a href="notebooks/{path.name}">{html.escape(title)}</a>'
        solutions = f'<a href="notebooks/solutions/{path.name}">solutions</a>'
        rows.append(f"<tr><td>{links}<br>{solutions}</td><td>{question}</td><td>{time}</td></tr>")
    table = (
        "<table><tr><th>lesson</th><th>the question</th><th>time</th></tr>"
        + "".join(rows)
        + "</table>"
    )
    more = {
        "reference.html": "Reference: the public names of the library",
        "README.md": "What it is, and how to start",
    }
    more |= {
        "notebooks/EQUATIONS.md": (
            "Every equation: where it is derived, computed, tested, and how exact it is"
        )
    }
    more = {to: text for to, text in more.items() if to == REFERENCE.name or (ROOT / to).exists()}
    lines = "".join(f'<li><a href="{to}">{text}</a></li>' for to, text in more.items())
    return f"<h1>Assumed density filtering: the course</h1><ul>{lines}</ul>{table}"


def reference():
    """A section for each public name of the library.

    It has the name's signature, its docstring, and its own methods.
    """
    parts = [
        "<h1>Reference</h1>",
        f"<pre>{html.escape(inspect.getdoc(adf))}</pre>",
        '<p class="names">',
    ]
    parts += [f'<a href="#{name}">{name}</a> ' for name in adf.__all__]
    for name in adf.__all__:
        thing = getattr(adf, name)
        parts += [f'<h2 id="{name}">{name}</h2>', described(name, thing)]
        members = vars(thing).items() if inspect.isclass(thing) or inspect.ismodule(thing) else ()
        for own, member in members:
            member = getattr(member, "fget", member)  # of a property, what computes it
            inside = getattr(member, "__module__", None) == getattr(
                thing, "__module__", thing.__name__
            )
            if (
                inspect.isroutine(member)
                and inside
                and not own.startswith("_")
                and inspect.getdoc(member)
            ):
                parts += [f"<h3>{name}.{own}</h3>", described(own, member)]
    return "".join(parts)


def described(name, thing):
    """Signature, docstring, and a link to the line where it begins."""
    try:
        signature = name + str(inspect.signature(thing)) if callable(thing) else ""
    except ValueError:
        signature = name
    thing = inspect.unwrap(thing)
    path = Path(inspect.getsourcefile(thing)).relative_to(ROOT)
    line = 1 if inspect.ismodule(thing) else inspect.getsourcelines(thing)[1]
    text = html.escape(f"{signature}\n\n{inspect.getdoc(thing) or ''}".strip())
    return f'<pre>{text}</pre><p><a href="{path}#L{line}">{path}, line {line}</a></p>'


if __name__ == "__main__":
    main()
