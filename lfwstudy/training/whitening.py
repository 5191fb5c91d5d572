"""Whitening of a trained network's embeddings by how much the images of one person differ."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Whitening:
    """The images to estimate it from.

    rows: int32 (n,), of the images. people: (n,), who they show. share: see `within_class_whitening`.
    """

    rows: np.ndarray
    people: np.ndarray
    share: float


def within_class_whitening(embeddings: np.ndarray, people: np.ndarray, share: float) -> np.ndarray:
    """The matrix by which to multiply embeddings so that, within a person, they vary about equally in all directions.

    Within-class covariance normalisation (Hatch et al. 2006): the inverse square root of the covariance within a person,
    shrunk towards a multiple of the identity.

    Parameters
    ----------
    embeddings : shape (n, d)
        Of unit length.
    people : shape (n,)
        Who they show. Somebody with k > 1 images counts sqrt(k) times; others do not count.
    share : float, at least 0 and less than 1
        Of the covariance, the identity having the rest; both have trace 1.

    Returns
    -------
    float64, shape (d, d), symmetric
    """
    _, person, images = np.unique(people, return_inverse=True, return_counts=True)
    means = np.zeros((len(images), embeddings.shape[1]))
    np.add.at(means, person, embeddings)
    several = images[person] > 1
    apart = (embeddings - (means / images[:, None])[person])[several]
    images = images[person][several]
    covariance = (apart * (np.sqrt(images) / (images - 1))[:, None]).T @ apart
    identity = np.eye(len(covariance))
    shrunk = share * covariance / (np.trace(covariance) or 1.0) + (1 - share) * identity / len(covariance)
    values, vectors = np.linalg.eigh(shrunk)
    return (vectors / np.sqrt(values)) @ vectors.T
