"""What does a network cost? Arithmetic and parameters by formula, without building it (the largest takes 1.2 GB)."""

import time

import numpy as np

# Filters and kernel side of the four convolutions, and the embedding's size: Koch et al. (2015), figure 4.
CONVOLUTIONS = ((64, 10), (128, 7), (128, 4), (256, 4))
EMBEDDING = 4096
# The networks of 3x3 convolutions: filters and number of convolutions between poolings, and their embedding's size.
BLOCKS = {"compact": ((32, 1), (64, 1), (128, 2), (256, 2)), "shallow": ((32, 2), (64, 2), (128, 2))}
EMBEDDINGS = {"koch": EMBEDDING, "compact": 256, "shallow": 128}


def scaled(count, width):
    """Filters or units of a layer in a network of the given width."""
    return max(1, round(count * width))


def stem_kernel(config):
    """Side of the kernel that a network of 3x3 convolutions begins with, by its ModelConfig."""
    return 3 if config.stem_stride == 1 else 5


def tower_cost(config, side):
    """(multiply-adds of the tower for one picture, parameters of the siamese network) of a ModelConfig."""
    compact = config.architecture in BLOCKS
    multiply_adds = parameters = 0
    for channels, filters, kernel, side, norms in _convolutions(config, side):
        weights = kernel * kernel * channels * filters
        multiply_adds += side * side * weights
        parameters += weights + (0 if compact else filters) + norms * 4 * filters
    # They hand on the mean over the picture.
    features = filters if compact else side * side * filters
    parameters += compact and config.pooling == "generalised-mean"  # its power
    units = scaled(EMBEDDINGS[config.architecture], config.width)
    # The head's: a weight for each component, or one for the cosine, its cohort and the two of its calibration; and a bias.
    head = units + 1 if config.head == "distance" else 4 + config.cohort * units
    return multiply_adds + features * units, parameters + features * units + units + head


def _convolutions(config, side):
    return (_compact_convolutions if config.architecture in BLOCKS else _koch_convolutions)(config, side)


def _koch_convolutions(config, side):
    """Of each convolution: channels in, filters, kernel side, output side, and batch normalisations after it. The sides
    after the poolings follow from them; the last has none."""
    channels = 1
    for number, (filters, kernel) in enumerate(CONVOLUTIONS, start=1):
        last, filters = number == len(CONVOLUTIONS), scaled(filters, config.width)
        side -= kernel - 1
        norms = {"none": 0, "before-activation": 1, "after-activation": 1, "activation-and-pooling": 1 if last else 2}[
            config.batchnorm
        ]
        yield channels, filters, kernel, side, norms
        channels = filters
        if not last:
            side = (side - 2) // (config.pool1_stride if number == 1 else 2) + 1


def _compact_convolutions(config, side):
    """The same of the networks of 3x3 convolutions, which keep the side (but for a stem's stride) and have batch-norm instead of a bias."""
    channels, kernel = 1, stem_kernel(config)
    side = -(-side // config.stem_stride)
    for filters, convolutions in BLOCKS[config.architecture]:
        filters = scaled(filters, config.width)
        for _ in range(convolutions):
            yield channels, filters, kernel, side, 1
            channels, kernel = filters, 3
        side //= 2


def training_memory(config, side, batch_size, pictures=0):
    """Bytes to set aside for a training process: an estimate from above, checked against measured peaks in a test.

    config: ModelConfig; side: of the pictures, `pictures` of them. Counted are 16 bytes a parameter (weight, gradient,
    two moments of Adam), what each layer hands on and its gradient, the pictures, and 1 GiB for the libraries.
    """
    layers = list(_convolutions(config, side))
    values = sum(at * at * filters for _, filters, _, at, _ in layers)
    # Convolution, activation and pooling keep about one such tensor each, batch normalisation three more.
    tensors = 7 if any(norms for *_, norms in layers) else 4
    activations = 2 * batch_size * values * 4 * tensors
    return 2**30 + 16 * tower_cost(config, side)[1] + activations + pictures * side * side


def least_memory(config, side, batch_size):
    """Bytes below which training surely fails in a process that has loaded its libraries: 16 a parameter, and each
    convolution's outputs and their gradient once, at two bytes a value; but for the first two where they may be computed
    slice by slice (train.fused_blocks)."""
    layers = list(_convolutions(config, side))
    in_slices = config.architecture == "koch" and config.batchnorm == "none"
    values = sum(at * at * filters for _, filters, _, at, _ in layers[2 * in_slices :])
    return 16 * tower_cost(config, side)[1] + 2 * batch_size * values * 2 * 2


def matrix_product_gflops(dtype, size=2048, repeats=8, queued=1):
    """Best of several square matrix products in a precision, in GFLOP/s; `queued` of them are asked for at once, one after
    the other, that an accelerator does not wait for this process between them."""
    from keras import ops

    a = ops.cast(np.random.default_rng(0).standard_normal((size, size)) / np.sqrt(size), dtype)

    def products():
        product = a
        for _ in range(queued):
            product = ops.matmul(a, product)
        np.asarray(ops.cast(product[0, 0], "float32"))

    products()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        products()
        seconds.append((time.perf_counter() - began) / queued)
        if sum(seconds) > 4:  # a precision that is only emulated
            break
    return 2 * size**3 / min(seconds) / 1e9
