"""The four pictures of the slides, for every image a row."""

import functools

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ..normalisation import normalise

# The colours of classes 0, 1, ...; a picture is not tinted where class 0 lies.
CLASS_COLOURS = ("#BBBBBB", "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")
WRONG = "#F0E442"  # the colour of wrong pixels
# These lengths are inches.
PANEL = 3.25  # the width of a picture
GAP = 0.15  # between two columns
MARGIN = 0.15  # at the left and right edge
CAPTION = 0.4  # the height of the line over a picture
HEADER = 0.38  # the height of the line over a column
FOOTER = 0.85  # the height of legends and colour bars
FONT = 13  # points


def overview(
    images, prediction, labels=None, class_names=("background", "trap", "cell"), titles=None
):
    """One row per image: segmentation, wrong pixels, uncertainty of all classes and of class 0.

    images: (N, H, W) or (N, 1, H, W), any grey values; prediction: as `adf.predict` returns it;
    labels: the truth, (N, H, W) integers, without it the second picture is the image itself;
    titles: N names to print over the rows. Uncertainty is the standard deviation of a class
    probability; where that is of weights alone it is called doubt about them. Each column has one
    scale, from 0 to its maximum. Returns the Figure.
    """
    images, labels = _checked(images, labels, prediction, class_names, titles)
    class_names = [drawable(name) for name in class_names]
    figure, panels, footers = _grid(*images.shape)
    second_header = "image (no truth given)" if labels is None else "misclassified pixels"
    _write_headers(panels[0], second_header, class_names[0], prediction)
    for n, (segmentation, errors, *_) in enumerate(panels):
        _draw_segmentation(segmentation, images[n], prediction.labels[n])
        _draw_errors(errors, images[n], prediction.labels[n], None if labels is None else labels[n])
        if titles is not None:
            _write(segmentation, _shortened(drawable(titles[n])))
    # What all rows share comes last: the legends, and the scales of the uncertainties.
    _draw_legends(footers, class_names, with_errors=labels is not None)
    _draw_uncertainty(panels[:, 2], footers[2], prediction.class_std.mean(axis=1), "p")
    _draw_uncertainty(panels[:, 3], footers[3], prediction.class_std[:, 0], f"p({class_names[0]})")
    return figure


def _grid(rows, height, width):
    """The figure for rows of images height x width, and its axes.

    Its axes are (rows, 4) for the pictures, and (4,) below the columns for legends and colour bars.
    """
    panel = PANEL * np.clip(height / width, 0.3, 1.6)
    step = panel + CAPTION
    total_width = 4 * PANEL + 3 * GAP + 2 * MARGIN
    total_height = HEADER + rows * step + FOOTER
    figure = Figure(figsize=(total_width, total_height))
    panels = [
        [_axes(figure, column, HEADER + CAPTION + row * step, panel) for column in range(4)]
        for row in range(rows)
    ]
    # A bar or legend lies 0.12 inches below the last row, and is narrower than its column.
    footers = [
        _axes(figure, column, total_height - FOOTER + 0.12, 0.14, inset=0.2) for column in range(4)
    ]
    return figure, np.array(panels), footers


def _axes(figure, column, top, height, inset=0.0):
    """Bare axes in a column of the figure, a distance from its top, `inset` from both sides."""
    total_width, total_height = figure.get_size_inches()
    left = MARGIN + column * (PANEL + GAP) + inset
    width = PANEL - 2 * inset
    # matplotlib counts from the bottom, in fractions of the figure.
    bottom = 1 - (top + height) / total_height
    axes = figure.add_axes((left / total_width, bottom, width / total_width, height / total_height))
    axes.set_axis_off()
    return axes


def _write_headers(panels, second_header, first_class, prediction):
    """Writes over the first row what each column shows."""
    mean = "mean uncertainty over classes"
    own = f"{first_class}-class uncertainty"
    # Only what doubts its weights has information about the class without a Dirichlet.
    if prediction.concentration is None and prediction.mutual_information is not None:
        mean = "mean doubt about the weights"
        own = f"{first_class}-class doubt"
    for axes, header in zip(panels, ("segmentation", second_header, mean, own), strict=True):
        _write(axes, header, above=CAPTION, size=FONT + 1)


def _draw_segmentation(axes, image, predicted):
    """Draws the image; each class but the first is washed over it in its colour, and outlined."""
    axes.imshow(_washed(image, predicted))
    for k in range(1, predicted.max() + 1):
        inside = predicted == k
        # Where there is no edge, or but one row or column, matplotlib's contour warns or raises.
        if inside.any() and not inside.all() and min(inside.shape) > 1:
            axes.contour(inside, levels=[0.5], colors=CLASS_COLOURS[k], linewidths=1.5)


def _draw_errors(axes, image, predicted, truth):
    """Draws the wrong pixels on the darkened image, and writes how many there are.

    The image is tinted by its true classes. Without a truth it is drawn alone.
    """
    if truth is None:
        axes.imshow(_grey(image))
        return
    wrong = predicted != truth
    axes.imshow(np.where(wrong[..., None], to_rgb(WRONG), 0.5 * _washed(image, truth)))
    _write(axes, f"{100 * wrong.mean():.2f} % wrong")


def _draw_uncertainty(column, footer, std, what):
    """Draws one map per row, all on one scale, and their colour bar in the footer."""
    for axes, values in zip(column, std, strict=True):
        picture = axes.imshow(values, cmap="cividis", vmin=0, vmax=float(std.max()) or 1)
        _write(axes, f"mean {values.mean():.4f}")
    footer.set_axis_on()
    ticks = MaxNLocator(4, steps=(1, 2, 5, 10))
    bar = footer.figure.colorbar(picture, cax=footer, orientation="horizontal", ticks=ticks)
    bar.set_label(f"standard deviation of {what}", size=FONT - 1, parse_math=False)
    bar.ax.tick_params(labelsize=FONT - 1)


def _draw_legends(footers, class_names, with_errors):
    """Draws the legends of the first column and, where there are errors, of the second."""
    classes = [
        Patch(facecolor=colour, label=name)
        for colour, name in zip(CLASS_COLOURS, class_names, strict=False)
    ]
    _draw_legend(footers[0], classes)
    if with_errors:
        _draw_legend(footers[1], [Patch(facecolor=WRONG, label="wrong  (tint: true class)")])


def _draw_legend(axes, handles):
    legend = axes.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, 1.5),
        ncols=3,
        frameon=False,
        fontsize=FONT,
        handlelength=1,
        handletextpad=0.5,
        columnspacing=1,
    )
    # A dollar sign in the name of a class is no formula.
    for text in legend.get_texts():
        text.set_parse_math(False)


def _write(axes, text, above=0.0, size=FONT):
    """Writes a line centred over the axes, a distance above them."""
    # The offset from the upper edge is in points: 72 an inch, and 4 more as a gap.
    axes.annotate(
        text,
        (0.5, 1),
        (0, 72 * above + 4),
        "axes fraction",
        "offset points",
        size=size,
        ha="center",
        va="bottom",
        parse_math=False,
    )


def drawable(text):
    """The text with every character that the font lacks, or that is none, as its escape."""
    known = _glyphs()
    return "".join(c if c.isprintable() and ord(c) in known else ascii(c)[1:-1] for c in str(text))


@functools.cache
def _glyphs():
    """The numbers of all characters of the font that is drawn with."""
    return get_font(findfont(FontProperties())).get_charmap().keys()


def _shortened(text, most=30):
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-most // 2 + 1 :]}"


def _washed(image, labels):
    """The grey image (H, W, 3), tinted by the colours of all classes but class 0."""
    colours = np.array([to_rgb(colour) for colour in CLASS_COLOURS])[labels]
    return np.where(labels[..., None] > 0, 0.6 * _grey(image) + 0.4 * colours, _grey(image))


def _grey(image):
    """(H, W) of any range  -> (H, W, 3) from 0 to 1; the darkest and brightest 0.5 % saturate."""
    image = normalise(image, "standard")  # so that nothing overflows
    low, high = np.percentile(image, (0.5, 99.5))
    grey = np.clip((image - low) / (high - low), 0, 1) if high > low else np.full(image.shape, 0.5)
    return np.repeat(grey[..., None], 3, axis=-1)


def _checked(images, labels, prediction, class_names, titles):
    """Images (N, H, W) and labels (N, H, W) or None; raises ValueError on other shapes."""
    images = np.asarray(images)
    labels = None if labels is None else np.asarray(labels)
    images = images[:, 0] if images.ndim == 4 and images.shape[1] == 1 else images
    n, k, *size = prediction.class_std.shape
    # The prediction knows how many images and classes there are: all else has to match it.
    if images.shape != (n, *size) or (labels is not None and labels.shape != images.shape):
        raise ValueError(
            f"overview expects images and labels of shape {(n, *size)} as predicted, "
            f"got {images.shape} and {labels if labels is None else labels.shape}"
        )
    if len(class_names) != k or k > len(CLASS_COLOURS) or (titles is not None and len(titles) != n):
        raise ValueError(
            f"overview expects {k} class names, at most {len(CLASS_COLOURS)}, and {n} titles, "
            f"got {class_names} and {titles}"
        )
    return images, labels
