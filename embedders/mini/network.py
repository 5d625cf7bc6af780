"""The architecture: a small residual network of dense convolutions.

Dense 3 x 3 convolutions at a low resolution keep a CPU's vector units busy, whereas the depthwise convolutions of
mobile networks wait for memory. So in the same time per picture, this network can be several times larger.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

INPUT_SIZE = (112, 112)
"""Height and width of the pictures."""

DIMS = 512
"""Length of an embedding."""

WIDTHS = (64, 128, 256)
DEPTHS = (2, 2, 2)
"""Channels and residual blocks at 28 x 28, 14 x 14 and 7 x 7 positions."""

Norm = Callable[[Any, str], Any]
"""Function to apply after a convolution: (tensor, name of the convolution) -> tensor."""


def trunk(norm: Norm | None = None) -> Any:
    """Build the part from pictures to the last feature map.

    The residual blocks follow He et al., "Deep Residual Learning for Image Recognition" (2016). Their shortcuts average
    before they project, as in He et al., "Bag of Tricks for Image Classification" (2019).

    Parameters
    ----------
    norm
        Normalisation after each convolution during training; the convolutions then have no bias. Without it, they have
        a bias, which includes the normalisation (`archive.fold`).

    Returns
    -------
    keras.Model
        From pixels 0-255 of shape (n, 112, 112, 3) to non-negative features (n, 7, 7, 512).
    """
    import keras  # noqa: PLC0415
    from keras import layers  # noqa: PLC0415

    def convolve(x: Any, name: str, channels: int, kernel: int, stride: int = 1) -> Any:
        layer = layers.Conv2D(channels, kernel, stride, "same", use_bias=norm is None, name=name)
        return norm(layer(x), name) if norm else layer(x)

    def block(x: Any, name: str, channels: int, stride: int) -> Any:
        y = layers.ReLU()(convolve(x, f"{name}_a", channels, 3, stride))
        y = convolve(y, f"{name}_b", channels, 3)
        if x.shape[-1] != channels:
            if stride > 1:
                x = layers.AveragePooling2D(stride)(x)
            x = convolve(x, f"{name}_shortcut", channels, 1)
        return layers.ReLU()(layers.Add()([x, y]))

    pixels = keras.Input((*INPUT_SIZE, 3), name="pixels")
    x = layers.Rescaling(1 / 64, -2)(pixels)
    x = layers.ReLU()(convolve(x, "stem", WIDTHS[0], 7, 4))
    for stage, (channels, depth) in enumerate(zip(WIDTHS, DEPTHS, strict=True)):
        for number in range(depth):
            x = block(x, f"stage{stage}_{number}", channels, 2 if stage and not number else 1)
    x = layers.ReLU()(convolve(x, "features", DIMS, 1))
    return keras.Model(pixels, x, name="trunk")


def build() -> Any:
    """Build the network that comes with the package, with random weights.

    Returns
    -------
    keras.Model
        From pixels 0-255 (any number type) of shape (n, 112, 112, 3) to float32 embeddings (n, 512), the averages of
        the features over all positions. They are never negative, so their sum, by which the modified distance
        divides, is clearly positive.
    """
    import keras  # noqa: PLC0415

    body = trunk()
    pooled = keras.layers.GlobalAveragePooling2D(name="embedding")(body.output)
    return keras.Model(body.input, pooled, name="mini")
