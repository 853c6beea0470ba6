"""The four pictures of the slides, for every image a row."""

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ..gaussian import normalise

CLASS_COLOURS = (
    "#BBBBBB",
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
)  # class 0 is not tinted
WRONG = "#F0E442"
PANEL, GAP, MARGIN, CAPTION, HEADER, FOOTER = 3.25, 0.15, 0.15, 0.4, 0.38, 0.85
FONT = 13


def overview(
    images, prediction, labels=None, class_names=("background", "trap", "cell"), titles=None
):
    """One row per image: segmentation, wrong pixels, uncertainty over all classes, uncertainty of class 0  -> Figure.

    images: (N, H, W) or (N, 1, H, W), any grey values; prediction: as `adf.predict` returns it; labels: the truth,
    (N, H, W) integers, without it the second picture is the image itself; titles: N names to print over the rows.
    Uncertainty is the standard deviation of a class probability; each column has one scale, from 0 to its maximum.
    """
    images, labels = _checked(images, labels, prediction, class_names, titles)
    figure, panels, footers = _grid(*images.shape)
    headers = (
        "segmentation",
        "image (no truth given)" if labels is None else "misclassified pixels",
        "mean uncertainty over classes",
        f"{class_names[0]}-class uncertainty",
    )
    for axes, header in zip(panels[0], headers, strict=True):
        _write(axes, header, above=CAPTION, size=FONT + 1)
    for n, (segmentation, errors, *_) in enumerate(panels):
        _draw_segmentation(segmentation, images[n], prediction.labels[n])
        _draw_errors(errors, images[n], prediction.labels[n], None if labels is None else labels[n])
        if titles is not None:
            _write(segmentation, _shortened(str(titles[n])))
    _draw_legends(footers, class_names, with_errors=labels is not None)
    _draw_uncertainty(panels[:, 2], footers[2], prediction.class_std.mean(axis=1), "p")
    _draw_uncertainty(panels[:, 3], footers[3], prediction.class_std[:, 0], f"p({class_names[0]})")
    return figure


def _grid(rows, height, width):
    """Axes for rows of four pictures (rows, 4), and below each column the axes of its legend or colour bar (4,)."""
    panel = PANEL * np.clip(height / width, 0.3, 1.6)
    total = (4 * PANEL + 3 * GAP + 2 * MARGIN, HEADER + rows * (panel + CAPTION) + FOOTER)
    figure = Figure(figsize=total)

    def place(column, top, height, inset=0.0):
        left, width = MARGIN + column * (PANEL + GAP) + inset, PANEL - 2 * inset
        axes = figure.add_axes(
            (left / total[0], 1 - (top + height) / total[1], width / total[0], height / total[1])
        )
        axes.set_axis_off()
        return axes

    panels = [
        [place(column, HEADER + CAPTION + row * (panel + CAPTION), panel) for column in range(4)]
        for row in range(rows)
    ]
    footers = [place(column, total[1] - FOOTER + 0.12, 0.14, inset=0.2) for column in range(4)]
    return figure, np.array(panels), footers


def _draw_segmentation(axes, image, predicted):
    """The image, each class but the first washed over it in its colour, and outlined."""
    axes.imshow(_washed(image, predicted))
    for k in range(1, predicted.max() + 1):
        inside = predicted == k
        if (
            inside.any() and not inside.all() and min(inside.shape) > 1
        ):  # matplotlib's contour warns or raises
            axes.contour(inside, levels=[0.5], colors=CLASS_COLOURS[k], linewidths=1.5)


def _draw_errors(axes, image, predicted, truth):
    """The wrong pixels on the darkened image, which is tinted by its true classes, and how many there are."""
    if truth is None:
        axes.imshow(_grey(image))
        return
    wrong = predicted != truth
    axes.imshow(np.where(wrong[..., None], to_rgb(WRONG), 0.5 * _washed(image, truth)))
    _write(axes, f"{100 * wrong.mean():.2f} % wrong")


def _draw_uncertainty(column, footer, std, what):
    """One map per row on one scale, the colour bar of all of them in the footer."""
    for axes, one in zip(column, std, strict=True):
        picture = axes.imshow(one, cmap="cividis", vmin=0, vmax=float(std.max()) or 1)
        _write(axes, f"mean {one.mean():.4f}")
    footer.set_axis_on()
    ticks = MaxNLocator(4, steps=(1, 2, 5, 10))
    bar = footer.figure.colorbar(picture, cax=footer, orientation="horizontal", ticks=ticks)
    bar.set_label(f"standard deviation of {what}", size=FONT - 1, parse_math=False)
    bar.ax.tick_params(labelsize=FONT - 1)


def _draw_legends(footers, class_names, with_errors):
    classes = [
        Patch(facecolor=colour, label=name)
        for colour, name in zip(CLASS_COLOURS, class_names, strict=False)
    ]
    errors = [Patch(facecolor=WRONG, label="wrong  (tint: true class)")]
    for axes, handles in zip(
        footers, (classes, errors) if with_errors else (classes,), strict=False
    ):
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
        for text in legend.get_texts():
            text.set_parse_math(False)


def _write(axes, text, above=0.0, size=FONT):
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


def _shortened(text, most=30):
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-most // 2 + 1 :]}"


def _washed(image, labels):
    colours = np.array([to_rgb(colour) for colour in CLASS_COLOURS])[labels]
    return np.where(labels[..., None] > 0, 0.6 * _grey(image) + 0.4 * colours, _grey(image))


def _grey(image):
    """(H, W) of any range  -> (H, W, 3) from 0 to 1; the darkest and brightest 0.5 % saturate."""
    image = normalise(image)  # so that nothing overflows
    low, high = np.percentile(image, (0.5, 99.5))
    grey = np.clip((image - low) / (high - low), 0, 1) if high > low else np.full(image.shape, 0.5)
    return np.repeat(grey[..., None], 3, axis=-1)


def _checked(images, labels, prediction, class_names, titles):
    """Images (N, H, W) and labels (N, H, W) or None, or a ValueError."""
    images, labels = np.asarray(images), None if labels is None else np.asarray(labels)
    images = images[:, 0] if images.ndim == 4 and images.shape[1] == 1 else images
    n, k, *size = prediction.class_std.shape
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
