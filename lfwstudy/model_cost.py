"""What does a network cost? Arithmetic and parameters by formula, without building it (the largest takes 1.2 GB)."""

# Filters and kernel side of the four convolutions, and the embedding's size: Koch et al. (2015), figure 4.
CONVOLUTIONS = ((64, 10), (128, 7), (128, 4), (256, 4))
EMBEDDING = 4096
# The compact network: filters and number of 3x3 convolutions between poolings, and its embedding's size.
COMPACT = ((32, 1), (64, 1), (128, 2), (256, 2))
COMPACT_EMBEDDING = 256


def scaled(count, width):
    """Filters or units of a layer in a network of the given width."""
    return max(1, round(count * width))


def tower_cost(config, side):
    """(multiply-adds of the tower for one picture, parameters of the siamese network) of a ModelConfig."""
    multiply_adds, parameters, features, units = (_compact_cost if config.architecture == "compact" else _koch_cost)(
        config, side)
    # The head's: a weight for each component, or one for the cosine and the two of its calibration; and a bias.
    head = units + 1 if config.head == "distance" else 4
    return multiply_adds + features * units, parameters + features * units + units + head


def _koch_cost(config, side):
    """Of the convolutions: multiply-adds and parameters; features that the dense layer gets, and its units."""
    multiply_adds = parameters = 0
    channels = 1
    for number, (filters, kernel) in enumerate(CONVOLUTIONS, start=1):
        filters = scaled(filters, config.width)
        side -= kernel - 1
        weights = kernel * kernel * channels * filters
        multiply_adds += side * side * weights
        parameters += weights + filters
        last = number == len(CONVOLUTIONS)
        norms = {"none": 0, "before-activation": 1, "after-activation": 1,
                 "activation-and-pooling": 1 if last else 2}[config.batchnorm]
        parameters += norms * 4 * filters
        if not last:
            stride = config.pool1_stride if number == 1 else 2
            side = (side - 2) // stride + 1
        channels = filters
    return multiply_adds, parameters, side * side * channels, scaled(EMBEDDING, config.width)


def _compact_cost(config, side):
    multiply_adds = parameters = 0
    channels = 1
    for number, (filters, convolutions) in enumerate(COMPACT, start=1):
        filters = scaled(filters, config.width)
        for _ in range(convolutions):
            weights = 9 * channels * filters
            multiply_adds += side * side * weights
            parameters += weights + 4 * filters  # batch-norm instead of a bias
            channels = filters
        if number < len(COMPACT):
            side //= 2
    return multiply_adds, parameters, channels, scaled(COMPACT_EMBEDDING, config.width)


def training_memory(config, side, batch_size, pictures=0):
    """Bytes to set aside for a training process: an estimate from above, checked against measured peaks in a test.

    config: ModelConfig; side: of the pictures, `pictures` of them. Counted are 16 bytes a parameter (weight, gradient,
    two moments of Adam), what each layer hands on and its gradient, the pictures, and 1 GiB for the libraries.
    """
    compact = config.architecture == "compact"
    values = sum((_compact_outputs if compact else _koch_outputs)(config, side))
    # Convolution, activation and pooling keep about one such tensor each, batch normalisation three more.
    tensors = 7 if compact or config.batchnorm != "none" else 4
    activations = 2 * batch_size * values * 4 * tensors
    return 2**30 + 16 * tower_cost(config, side)[1] + activations + pictures * side * side


def _koch_outputs(config, side):
    """Numbers that each convolution hands on for one picture."""
    for number, (filters, kernel) in enumerate(CONVOLUTIONS, start=1):
        side -= kernel - 1
        yield side * side * scaled(filters, config.width)
        if number < len(CONVOLUTIONS):
            side = (side - 2) // (config.pool1_stride if number == 1 else 2) + 1


def _compact_outputs(config, side):
    for filters, convolutions in COMPACT:
        for _ in range(convolutions):
            yield side * side * scaled(filters, config.width)
        side //= 2
