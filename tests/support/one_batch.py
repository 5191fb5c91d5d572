"""What a network computes of one batch, on any backend: `python -m tests.support.one_batch WEIGHTS OUT.npz`."""

import sys
from pathlib import Path

import numpy as np

from lfwstudy.config import RunConfig
from lfwstudy.network.siamese import build_siamese
from lfwstudy.training.augment import draw_online, draw_rectangles
from lfwstudy.training.trainer import PairTrainer

SIDE = 69


def compute(weights: Path, out: Path) -> None:
    """Write scores, logits in training, the moving statistics that these leave, and losses; the weights where missing."""
    config = RunConfig().change(
        {
            "model.width": 0.05,
            "model.batchnorm": "activation-and-pooling",
            "training.flip": True,
            "training.rotation": 8.0,
            "training.erase": 0.5,
            "training.contrast": 1.0,
        }
    )
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(12, SIDE, SIDE)).astype(np.uint8)
    siamese = build_siamese(config.model, SIDE)
    if weights.exists():
        siamese.load_weights(weights)
    else:
        siamese.save_weights(weights)
    trainer = PairTrainer(siamese, images, config.training)
    inputs = {}
    for side in ("left", "right"):
        inputs[side] = rng.permutation(12).astype(np.int32)
        inputs[f"{side}_warp"] = draw_online(rng, 12, SIDE, config.training)
        inputs[f"{side}_erase"] = draw_rectangles(rng, 12, SIDE, config.training.erase)
        inputs[f"{side}_person"] = inputs[side] // 3
    found = {"score": siamese([images[:6, ..., None] / np.float32(255), images[6:, ..., None] / np.float32(255)])}
    found["logit"] = trainer(inputs, training=True)
    found["losses"] = np.array([float(loss) for loss in trainer.losses])
    found |= {weight.path: weight for weight in siamese.non_trainable_weights}
    np.savez(out, **{name: np.asarray(value) for name, value in found.items()})


if __name__ == "__main__":
    compute(Path(sys.argv[1]), Path(sys.argv[2]))
