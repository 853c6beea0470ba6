"""Images in, a Dirichlet per pixel out: the network between its two ends, and what it predicts."""

from typing import Any, NamedTuple

from tqdm import tqdm

from .backend import host, to_host, xp
from .dirichlet import Dirichlet, DirichletHead, bernoulli_std, cross_entropy, dirichlet_nll, log_softmax, xlogx
from .gaussian import Gaussian
from .normalise import normalise
from .parallel import hand_over, in_order, threads
from .tiling import tiles

PIXELS_TOGETHER = 1 << 16  # that a thread predicts at once: long passes, in which threads do not wait for each other


class Prediction(NamedTuple):
    """What a segmenter says of N images of H x W pixels and K classes: NumPy arrays, on the host; maps in float32."""

    labels: Any  # (N, H, W) uint8: the most probable class
    probabilities: Any  # (N, K, H, W)
    concentration: Any  # (N, K, H, W): the Dirichlet's alpha; None for a deterministic network
    class_std: Any  # (N, K, H, W): standard deviation of each class probability
    entropy: Any  # (N, H, W): of the mean probabilities, in nats


class Segmenter:
    """A network between an image with Gaussian noise and a Dirichlet per pixel.

    network: a Layer from (N, C, H, W) to logits (N, K, H, W). noise_var: the variance (not the standard deviation) of
    the noise on every pixel of the normalised image, in units of that image's own variance; None runs the ordinary
    deterministic network: point masses, softmax, cross-entropy. raw_c: initial c1 and c2 before the softplus.

    The loss is (1 - w) (-log E[p_label]) + w (-log Dir(y; alpha)) with w = density_weight.  (7.17)
    At w = 1 it is that of Gast & Roth, the density at the label smoothed by label_smoothing (see dirichlet_nll), whose
    best mean is not the frequency of the classes. At a small w the likelihood of the label itself, cross-entropy, rules
    the mean, and the density the strength, of which the label says nothing. At w = 0 the strength does not learn.
    Raises ValueError on a negative noise_var, a label_smoothing outside (0, 1), a density_weight outside [0, 1] and a
    raw_c outside [-30, 30].
    """

    def __init__(self, network, noise_var=1e-3, *, label_smoothing=1e-2, density_weight=1.0, raw_c=-3.0):
        if noise_var is not None and not 0 <= noise_var < float("inf"):
            raise ValueError(f"Segmenter expects a noise_var (a variance) of 0 or more, or None, got {noise_var!r}")
        if label_smoothing is None or not 0 < label_smoothing < 1:
            raise ValueError(
                f"Segmenter expects a label_smoothing between 0 and 1, got {label_smoothing!r}: "
                "at 0 the target lies on the border of the simplex, where the Dirichlet's density is infinite or 0"
            )
        if not 0 <= density_weight <= 1:
            raise ValueError(f"Segmenter expects a density_weight from 0 to 1, got {density_weight!r}")
        self.network, self.noise_var = network, noise_var
        self.label_smoothing, self.density_weight = label_smoothing, density_weight
        self.head = None if noise_var is None else DirichletHead(raw_c)

    def parameters(self):
        """The network's, then the head's raw c1 and c2."""
        return self.network.parameters() + (self.head.parameters() if self.head else [])

    def input(self, images):
        """The normalised images (N, C, H, W) as a Gaussian in the dtype of the weights."""
        weights = self.network.parameters()
        mean = normalise(images).astype(weights[0].value.dtype if weights else "float32")
        return Gaussian(mean, None if self.noise_var is None else xp.full_like(mean, self.noise_var))

    def loss(self, images, labels, span=None):
        """The loss of images (N, C, H, W) and labels (N, H, W), summed over pixels, and backward(dloss).

        span: the least and the largest label, where they are known; to ask a GPU for them holds up the work.
        """
        logits, network_backward = self.network.forward(self.input(images))
        classes = logits.mean.shape[1]
        least, largest = span or (int(labels.min()), int(labels.max()))
        if least < 0 or largest >= classes:
            raise ValueError(f"expected labels from 0 to {classes - 1}, got {least} to {largest}")
        if self.head is None:
            loss, loss_backward = cross_entropy(logits.mean, labels)
            return loss, lambda dloss: network_backward(Gaussian(loss_backward(dloss), None))
        log_concentration, head_backward = self.head.forward(logits)
        density, density_backward = dirichlet_nll(log_concentration, labels, self.label_smoothing)
        label, label_backward = cross_entropy(log_concentration, labels)  # their softmax is E[p]
        w = self.density_weight

        def backward(dloss):
            return network_backward(head_backward(density_backward(w * dloss) + label_backward((1 - w) * dloss)))

        return (1 - w) * label + w * density, backward  # (7.17)

    def predict(self, images):
        """The fields of a Prediction for images (N, C, H, W) of any size, as arrays of the backend."""
        height, width = images.shape[2:]
        return self.read(self.padded(images), (slice(height), slice(width)))

    def padded(self, images):
        """The input, reflected at its lower and right border up to a size that the network can halve."""
        return Gaussian(*(None if f is None else pad(f, self.network) for f in self.input(images)))

    def read(self, x, kept):
        """The fields of a Prediction for an input x, of the rows and columns that are kept."""
        logits = self.network.predict(x)
        logits = Gaussian(*(None if f is None else f[..., *kept] for f in logits))
        if self.head is None:
            p = xp.exp(log_softmax(logits.mean.astype("float64")))
            fields = p, None, bernoulli_std(p), -xlogx(p).sum(axis=1)
        else:
            dirichlet = Dirichlet(xp.exp(self.head.predict(logits)))
            fields = dirichlet.probabilities, dirichlet.concentration, dirichlet.class_std, dirichlet.entropy
        labels = fields[0].argmax(axis=1).astype("uint8")
        return Prediction(labels, *(None if f is None else f.astype("float32") for f in fields))


def pad(array, network):
    """The array reflected at its lower and right border up to a size that the network can halve."""
    multiple = getattr(network, "multiple", 1)
    height, width = array.shape[2:]
    return xp.pad(array, ((0, 0), (0, 0), (0, -height % multiple), (0, -width % multiple)), mode="reflect")


def predict(segmenter, images):
    """The Prediction for images (N, C, H, W) of any size and any real dtype: normalised, padded, and cropped back.

    Images are worked on a few at a time, on all cores; the answer for an image does not depend on its neighbours. A
    U-Net sees an image of more than 1024 pixels a side in tiles, with the same answer. Raises ValueError on other axes,
    on images without pixels, and on images that are not finite.
    """
    images = check_images(images)
    count, size = len(images), images.shape[2:]
    cut = tiles(size, segmenter.network)
    if len(cut) > 1:
        return joined([in_tiles(segmenter, images[n : n + 1], cut) for n in range(count)], host)
    together = max(1, min(-(-count // threads()), PIXELS_TOGETHER // (size[0] * size[1])))
    groups = [images[start : start + together] for start in range(0, count, together)]
    return on_host(joined(in_order(segmenter.predict, groups), xp))


def joined(parts, library):
    if len(parts) == 1:  # a large image is not copied
        return parts[0]
    return Prediction(*(None if f[0] is None else library.concatenate(f) for f in zip(*parts, strict=True)))


def in_tiles(segmenter, image, cut):
    """The Prediction for one image, normalised as a whole, tile by tile; with a progress bar on a terminal."""
    x, whole = segmenter.padded(image), None

    def work(tile):
        seen = Gaussian(*(None if f is None else xp.ascontiguousarray(f[..., *tile.seen]) for f in x))
        return tile.place, on_host(segmenter.read(seen, tile.kept))

    def put(result):
        nonlocal whole
        place, part = result
        if whole is None:
            shapes = (None if f is None else (*f.shape[:-2], *image.shape[2:]) for f in part)
            whole = Prediction(*(f if f is None else host.empty(s, f.dtype) for f, s in zip(part, shapes, strict=True)))
        for field, values in zip(whole, part, strict=True):
            if field is not None:
                field[..., *place] = values
        bar.update()

    with tqdm(total=len(cut), unit=" tiles", leave=False, disable=None) as bar:
        hand_over(work, cut, put)
    return whole


def on_host(prediction):
    return Prediction(*(None if field is None else to_host(field) for field in prediction))


def check_images(images):
    """The images as an array of the backend, or a ValueError that says what is wrong; asked where they lie."""
    images = images if isinstance(images, xp.ndarray) else host.asarray(images)
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"expected images of shape (N, C, H, W) with at least one pixel, got {images.shape}")
    if images.dtype.kind not in "buif":
        raise ValueError(f"expected images of real numbers, got {images.dtype}")
    if not bool((abs(images) < float("inf")).all()):
        raise ValueError("expected finite images, got NaN or infinity in them")
    return xp.asarray(images)
