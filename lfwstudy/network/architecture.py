"""The sizes of the networks' layers as plain data."""

from collections.abc import Iterator
from typing import NamedTuple

from lfwstudy.config import ModelConfig

# Filters and kernel side of Koch's four convolutions: Koch et al. (2015), figure 4.
CONVOLUTIONS = ((64, 10), (128, 7), (128, 4), (256, 4))
# The networks of 3x3 convolutions: filters and number of convolutions between poolings.
BLOCKS = {"compact": ((32, 1), (64, 1), (128, 2), (256, 2)), "shallow": ((32, 2), (64, 2), (128, 2))}
# Components of the embedding.
EMBEDDINGS = {"koch": 4096, "compact": 256, "shallow": 128}
# Batch normalisations after each of Koch's convolutions, and after the last one, which has no pooling.
_NORMS = {"none": (0, 0), "before-activation": (1, 1), "after-activation": (1, 1), "activation-and-pooling": (2, 1)}


class Convolved(NamedTuple):
    """One convolution: channels in, filters, kernel side, output side in pixels, batch normalisations after it."""

    channels: int
    filters: int
    kernel: int
    side: int
    norms: int


def scaled(count: int, width: float) -> int:
    """Filters or units of a layer in a network of the given width."""
    return max(1, round(count * width))


def cohort_size(config: ModelConfig) -> int:
    """Images in a cosine head's cohort; 0 where it has all images, whose number only the data tell."""
    return 0 if config.cohort == "all" else int(config.cohort)


def stem_kernel(config: ModelConfig) -> int:
    """Side of the first kernel of a network of 3x3 convolutions."""
    return 3 if config.stem_stride == 1 else 5


def convolutions(config: ModelConfig, side: int) -> Iterator[Convolved]:
    """The convolutions of a network for images of `side` pixels, in order."""
    return (_of_blocks if config.architecture in BLOCKS else _of_koch)(config, side)


def _of_koch(config: ModelConfig, side: int) -> Iterator[Convolved]:
    channels = 1
    for number, (filters, kernel) in enumerate(CONVOLUTIONS, start=1):
        last, filters = number == len(CONVOLUTIONS), scaled(filters, config.width)
        side -= kernel - 1
        yield Convolved(channels, filters, kernel, side, _NORMS[config.batchnorm][last])
        channels = filters
        if not last:
            side = (side - 2) // (config.pool1_stride if number == 1 else 2) + 1


def _of_blocks(config: ModelConfig, side: int) -> Iterator[Convolved]:
    """These keep the side, except for the stem's stride."""
    channels, kernel = 1, stem_kernel(config)
    side = -(-side // config.stem_stride)
    for filters, count in BLOCKS[config.architecture]:
        filters = scaled(filters, config.width)
        for _ in range(count):
            yield Convolved(channels, filters, kernel, side, 1)
            channels, kernel = filters, 3
        side //= 2
