"""What does a network cost? Arithmetic and parameters by formula, without building it (the largest takes 1.2 GB)."""

# Filters and kernel side of the four convolutions, and the embedding's size: Koch et al. (2015), figure 4.
CONVOLUTIONS = ((64, 10), (128, 7), (128, 4), (256, 4))
EMBEDDING = 4096


def scaled(count, width):
    """Filters or units of a layer in a network of the given width."""
    return max(1, round(count * width))


def tower_cost(config, side):
    """(multiply-adds of the tower for one picture, parameters of the siamese network) of a ModelConfig."""
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
    units = scaled(EMBEDDING, config.width)
    dense = side * side * channels * units
    return multiply_adds + dense, parameters + dense + units + units + 1
