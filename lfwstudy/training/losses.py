"""Losses and metrics, on the score's logit."""

from lfwstudy.network.layers import unit_length
from lfwstudy.network.operations import Tensor, keras, ops


def cross_entropy(targets: Tensor, logit: Tensor) -> Tensor:
    """Binary cross-entropy against the training target, the first of `targets`' last axis: logit's shape less its last axis."""
    return keras.losses.binary_crossentropy(targets[..., :1], logit, from_logits=True)


def hard_accuracy(targets: Tensor, logit: Tensor) -> Tensor:
    """1 or 0, correct or not against the hard label, the second of `targets`' last axis: logit's shape less its last axis."""
    return ops.cast(ops.equal(logit[..., 0] > 0.0, targets[..., 1] > 0.5), "float32")


def contrast_loss(embeddings: Tensor, people: Tensor, temperature: float) -> Tensor:
    """Contrastive loss, high if images are close to other people of the batch: a scalar.

    The supervised contrastive loss (Khosla et al. 2020, equation 2), averaged over the images whose person has another image
    in the batch.

    Parameters
    ----------
    embeddings : float32, shape (n, d)
    people : int32, shape (n,)
    """
    unit = unit_length(ops.cast(embeddings, "float32"))
    similarity = ops.matmul(unit, ops.transpose(unit)) / temperature
    count = ops.shape(unit)[0]
    itself = ops.equal(ops.arange(count)[:, None], ops.arange(count)[None, :])
    same = ops.logical_and(ops.equal(people[:, None], people[None, :]), ops.logical_not(itself))
    similarity = ops.where(itself, -1e9, similarity)
    log_share = similarity - ops.logsumexp(similarity, axis=1, keepdims=True)
    positives = ops.sum(ops.cast(same, "float32"), axis=1)
    of_each = -ops.sum(ops.where(same, log_share, 0.0), axis=1) / ops.maximum(positives, 1.0)
    return ops.sum(of_each) / ops.maximum(ops.sum(ops.cast(positives > 0, "float32")), 1.0)
