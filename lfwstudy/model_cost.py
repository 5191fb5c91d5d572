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
