"""The U-Net of adf.models.unet as a textbook PyTorch module, which the library is compared with.

It comes with ADF or deterministic. Topology, initial distribution of the weights (PyTorch's random
numbers), loss and outputs are the same. It needs PyTorch and NumPy, nothing of adf. It differs in
three things: batch norm normalises by the variance of the means alone, over the whole batch (the
library counts the variances too, over micro-batches of 4); the head works in the weights' dtype
(the library in float64, with logarithms); and a floor lies under every variance and concentration.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch_moments import dirichlet, dirichlet_nll, leaky_relu, linear, max_pool

NEGATIVE_SLOPE, NOISE_VAR, SMOOTHING, RAW_C = 0.2, 1e-3, 1e-2, -3.0


class Convolution(nn.Module):
    """k x k convolution that keeps the size; with `activate`, then batch norm and leaky ReLU.

    Batch norm is there where it is asked for.
    """

    def __init__(self, in_channels, out_channels, kernel_size, norm, activate, floor):
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=not norm
        )
        self.norm = nn.BatchNorm2d(out_channels) if norm else None
        self.activate, self.floor = activate, floor

    def forward(self, x):
        y = linear(F.conv2d, x, self.conv.weight, self.conv.bias, padding=self.conv.padding)
        if self.norm is not None:
            y = self.normalised(*y)
        return leaky_relu(y, NEGATIVE_SLOPE, self.floor) if self.activate else y

    def normalised(self, mean, var):
        """Var[y] = (weight / sqrt(var + eps))^2 Var[x], with the statistics of the mean."""
        norm = self.norm
        if var is not None:
            seen = mean.var(dim=(0, 2, 3), unbiased=False) if self.training else norm.running_var
            var = (norm.weight**2 / (seen + norm.eps)).view(1, -1, 1, 1) * var
        return norm(mean), var


class Level(nn.Module):
    """Two convolutions; with widths below, also the way down to them and back.

    What comes back lies beside the features that stayed here.
    """

    def __init__(self, in_channels, width, *below, norm, floor):
        super().__init__()
        self.floor = floor
        self.before = convolutions(in_channels, width, norm, floor)
        self.below = Level(width, *below, norm=norm, floor=floor) if below else None
        self.up = nn.ConvTranspose2d(below[0], width, 2, stride=2) if below else None
        self.after = convolutions(2 * width, width, norm, floor) if below else None

    def forward(self, x):
        stay = self.before(x)
        if self.below is None:
            return stay
        back = self.below(max_pool(stay, self.floor))
        back = linear(F.conv_transpose2d, back, self.up.weight, self.up.bias, stride=2)
        beside = tuple(
            None if a is None else torch.cat([a, b], dim=1) for a, b in zip(stay, back, strict=True)
        )
        return self.after(beside)


class TorchUNet(nn.Module):
    """Images (N, in_channels, H, W) -> logits (mean, var), (N, classes, H, W).

    With adf=False, var is None throughout. floor lies under every variance that is a difference,
    and under every concentration. Parameters come in the order of those of
    adf.Segmenter(adf.UNet(...)): weight, bias layer by layer, then the head's raw c1 and c2 (with
    adf=True).
    """

    def __init__(
        self, in_channels, classes, widths=(16, 32, 64, 128), norm=False, adf=True, floor=1e-6
    ):
        super().__init__()
        self.adf, self.floor = adf, floor
        self.level = Level(in_channels, *widths, norm=norm, floor=floor)
        self.logits = Convolution(widths[0], classes, 1, norm=False, activate=False, floor=floor)
        self.raw = nn.ParameterList(
            nn.Parameter(torch.full((1,), RAW_C)) for _ in range(2 if adf else 0)
        )
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                fan_in = (
                    layer.in_channels
                    * layer.weight[0, 0].numel()
                    / (layer.stride[0] * layer.stride[1])
                )
                nn.init.normal_(layer.weight, 0, (2 / fan_in) ** 0.5)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        self.logits.conv.weight.data *= 0.1

    def forward(self, images):
        """Normalises the images as the library does: each to mean 0 and standard deviation 1."""
        mean = images - images.mean(dim=(1, 2, 3), keepdim=True)
        mean = mean / mean.std(dim=(1, 2, 3), keepdim=True, unbiased=False)
        return self.logits(
            self.level((mean, torch.full_like(mean, NOISE_VAR) if self.adf else None))
        )

    def loss(self, images, labels):
        """Mean over pixels of the Dirichlet's negative log-likelihood, or of the cross-entropy."""
        mean, var = self(images)
        if not self.adf:
            return F.cross_entropy(mean, labels)
        return dirichlet_nll(dirichlet(mean, var, *self.raw, self.floor), labels, SMOOTHING)

    def train_step(self, optimizer, images, labels):
        """One step of learning on a batch (images, labels): its loss."""
        self.train()
        optimizer.zero_grad()
        loss = self.loss(images, labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    @torch.inference_mode()
    def predict(self, images):
        """What adf.predict returns.

        That is labels, probabilities, concentration, standard deviation per class, entropy.
        """
        self.eval()
        mean, var = self(images)
        if self.adf:
            alpha = dirichlet(mean, var, *self.raw, self.floor)
            strength = alpha.sum(dim=1, keepdim=True)
            p = alpha / strength
            std = torch.sqrt(p * (1 - p) / (strength + 1))
        else:
            alpha, p = None, torch.softmax(mean, dim=1)
            std = torch.sqrt(p * (1 - p))
        return p.argmax(dim=1).to(torch.uint8), p, alpha, std, -torch.xlogy(p, p).sum(dim=1)


def convolutions(in_channels, width, norm, floor):
    return nn.Sequential(
        *(Convolution(c, width, 3, norm, True, floor) for c in (in_channels, width))
    )
