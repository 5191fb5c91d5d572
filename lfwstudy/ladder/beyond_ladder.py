"""The ladder beyond the report: other networks, trained in other ways, without outside data."""

from lfwstudy.config import DEFAULTS
from lfwstudy.ladder.report_ladder import CHECKPOINTS
from lfwstudy.ladder.stage import Changes, Ladder, Stage, Variant, data, model, training

# The ladder's result if every stage is carried forward; a factor's contribution is the loss without it. Small images and
# 20 epochs, as until the last stage but one, show it in minutes.
_CROP = data(crop=144)
_COMPACT = CHECKPOINTS | model(architecture="compact", l2=0.0, width=0.75) | data(side=48) | training(epochs=20)
_ADAMW = training(optimizer="adamw", learning_rate=0.002, weight_decay=0.05, schedule="cosine", warmup=2)
_ONLINE = training(flip=True, shift=0.04, online_zoom=0.08, rotation=8.0, online_brightness=0.15)
_COSINE = model(head="cosine")
_CONTRAST = training(contrast=1.0, temperature=0.1)
_PEOPLE = training(drawn_people=1792)
_ERASE = training(erase=0.5)
_FLIP = model(flip_average=True)
_COHORT = model(head="cosine", cohort=512)
_STRONGER = training(shift=0.05, online_zoom=0.1, rotation=10.0, online_brightness=0.2)
_DETAIL = data(side=96) | model(stem_stride=2)
_WHOLE = _COMPACT | _CROP | _ONLINE | _CONTRAST | _PEOPLE | _ADAMW | _COSINE | _ERASE | _FLIP
_WHOLE |= model(cohort=0)  # a cohort needs the cosine head, which is left out in turn


def _without(*factors: Changes) -> Changes:
    """The recipe with some factors' settings back at their defaults."""
    return _WHOLE | {key: DEFAULTS[key] for factor in factors for key in factor}


# The ladder's result on View 1, without erased patches, which were no better on validation, and with all images of the
# training people. Written out in full: on View 2, where nothing is chosen, it is trained without the earlier stages.
_ALL_PEOPLE = _without(_ERASE) | _DETAIL | data(pictures="all-people")
_ALL_PEOPLE |= training(drawn_people=4096, epochs=22, temperature=0.05)
_LONGER = _ALL_PEOPLE | _STRONGER | _COHORT | training(epochs=44)
_LARGER = _LONGER | data(side=128) | model(width=1.25, pooling="generalised-mean")
_STRONGEST = training(shift=0.075, online_zoom=0.15, rotation=15.0, online_brightness=0.3)
_SHALLOW = _LARGER | _STRONGEST | model(architecture="shallow", width=1.0)
_SHALLOW |= training(pairs_per_person=2, weight_decay=0.2)
_PAIRS_SHALLOW = _SHALLOW | data(pictures="pairs")
_PAIRS_SHALLOW |= training(weight_decay=0.05, least_pictures=2, drawn_people=3584, epochs=24)

_STAGES = (
    Stage(
        "base",
        "Compact network of 3x3 convolutions",
        "Small kernels with batch-norm and global average pooling, instead of a dense layer that holds most of the "
        "weights, learn as much from 48x48 images in a fraction of the time. No better yet: here the ladder starts.",
        (Variant("compact", "six 3x3 convolutions with batch-norm, whole images at 48x48 pixels", _COMPACT),),
    ),
    Stage(
        "crop",
        "Tight crop of the face",
        "A third of each image's side shows hair, clothes and background, which say little about identity. The "
        "central 144 of 250 pixels leave more of the input to the face.",
        (Variant("crop144", "central 144 of 250 pixels", _CROP),),
    ),
    Stage(
        "online-augmentation",
        "Augmentation drawn in every epoch",
        "Mirroring, shifting, zooming and rotating images differently in every epoch keeps the network from "
        "memorising the training images.",
        (Variant("light", "mirror, 4 % shift, 8 % zoom, 8 degrees, 15 % brightness", _ONLINE),),
    ),
    Stage(
        "contrast",
        "Contrast with the other people of the batch",
        "The pair files name the people, so each image can be contrasted with everybody else in its batch instead "
        "of one stranger. LFW calls the use of names its unrestricted setting.",
        (Variant("contrast", "weight 1, temperature 0.1", _CONTRAST),),
    ),
    Stage(
        "people",
        "People instead of pairs",
        "Of the images listed in the pair files, a batch holds two of each of 64 people (the same one twice where"
        " there is only one): each image has a match in the batch and 63 people to differ from.",
        (Variant("people", "two images of 64 people a batch", _PEOPLE),),
    ),
    Stage(
        "optimiser",
        "AdamW with a cosine schedule",
        "A learning rate that warms up, then falls along half a cosine, lets the network settle; decoupled weight"
        " decay replaces the L2 penalty.",
        (Variant("adamw-cosine", "AdamW, two epochs of warm-up, half a cosine", _ADAMW),),
    ),
    Stage(
        "cosine-head",
        "Cosine similarity",
        "The cosine of two embeddings has no weights to overfit to single components; a line through it, "
        "calibrated on validation, gives a probability.",
        (Variant("cosine", "cosine instead of weighted |a - b|", _COSINE),),
    ),
    Stage(
        "erase",
        "Erased patches",
        "With a random rectangle of every other image blanked, the network cannot rely on one part of the face.",
        (Variant("erase", "half of the images", _ERASE),),
    ),
    Stage(
        "flip-average",
        "Mirror image averaged in",
        "A face and its mirror image belong to one person: the mean of their embeddings is less noisy.",
        (Variant("flip-average", "mean of both embeddings", _FLIP),),
    ),
    Stage(
        "larger",
        "Larger images, longer training",
        "With twice as many pixels the network memorises more slowly and can be trained for longer.",
        (Variant("larger", "64x64 pixels, 36 epochs", data(side=64) | training(epochs=36)),),
        seeds=5,
    ),
    Stage(
        "temperature",
        "A sharper contrast",
        "A smaller temperature puts the weight on the most similar strangers, the pairs that a threshold gets wrong.",
        (Variant("temperature", "temperature 0.05 instead of 0.1", training(temperature=0.05)),),
        seeds=2,
    ),
    Stage(
        "detail",
        "More pixels behind a stride",
        "A first convolution of 5x5 with stride 2 takes images of 96x96 pixels at the cost of 48x48: finer detail"
        " in half the time.",
        (Variant("detail", "96x96 pixels, first convolution 5x5 with stride 2", _DETAIL),),
        seeds=2,
    ),
    Stage(
        "minute",
        "One minute of training",
        "The recipe passes the report's best figure within a minute of training.",
        (
            Variant(
                "minute",
                "4 epochs, 96x96 pixels behind the stride, temperature 0.05",
                _DETAIL | training(temperature=0.05, epochs=4, warmup=1),
            ),
        ),
        carry=False,
        seeds=5,
    ),
    Stage(
        "leave-one-out",
        "Each factor left out",
        "The contribution of a factor depends on the others: the whole recipe on small images, and the recipe without each.",
        (
            Variant("whole", "the whole recipe, 48x48 pixels, 20 epochs", _WHOLE),
            Variant("without-crop", "whole image", _without(_CROP)),
            Variant(
                "without-compact",
                "the report's network, a quarter of its filters",
                _without(_COMPACT) | model(width=0.25) | training(epochs=20),
            ),
            Variant("without-adamw", "Adam at a constant rate", _without(_ADAMW)),
            Variant("without-augmentation", "no online augmentation, nothing erased", _without(_ONLINE, _ERASE)),
            Variant("without-erase", "nothing erased", _without(_ERASE)),
            Variant("without-cosine", "weighted |a - b|", _without(_COSINE)),
            Variant("without-contrast", "no contrast with the rest of the batch", _without(_CONTRAST)),
            Variant("without-people", "the training pairs instead of drawn people", _without(_PEOPLE)),
            Variant("without-flip-average", "no mirror image at the end", _without(_FLIP)),
        ),
        carry=False,
        seeds=2,
    ),
    Stage(
        "cohort",
        "Cohort normalisation",
        "Some faces resemble many others. Subtracting each image's mean cosine to its ten nearest among 512 "
        "images of training people makes one threshold fit more pairs; training is unchanged.",
        (Variant("cohort", "a cohort of 512 images", _COHORT),),
        carry=False,
        seeds=2,
    ),
    Stage(
        "shallow",
        "Parts of a face",
        "With three blocks instead of four, the receptive field covers half a face: parts, of which there are "
        "more to learn from. With half again as much augmentation and two pairs of images of each person in a "
        "batch (people with one image are left out), training keeps improving for longer.",
        (
            Variant(
                "shallow",
                "three blocks, 128x128 pixels, generalised mean, 2,688 batches of two pairs of 32 people, cohort",
                _PAIRS_SHALLOW,
            ),
        ),
        carry=False,
        seeds=5,
    ),
    Stage(
        "all-people",
        "All images of the training people",
        "The pair files list a third of the images of View 1's training people. Drawing from all of them, except "
        "validation's, adds people and shows each in more ways.",
        (
            Variant(
                "all-people",
                "all training people, 4,096 drawn an epoch, 22 epochs; 96x96 pixels behind the stride, "
                "temperature 0.05",
                _ALL_PEOPLE,
            ),
        ),
        seeds=5,
    ),
    Stage(
        "all-people-longer",
        "More people, longer training",
        "So many people are not memorised soon: twice the epochs, with stronger augmentation, still pay.",
        (Variant("longer", "44 epochs, a quarter more augmentation, the cohort", _LONGER),),
        seeds=5,
    ),
    Stage(
        "all-people-larger",
        "A wider network on larger images",
        "With so many people the network no longer memorises: it can have three times the weights and nearly all "
        "pixels of the crop. A generalised mean lets it weight the most telling regions.",
        (Variant("larger", "128x128 pixels, two thirds more filters, generalised mean", _LARGER),),
        seeds=5,
    ),
    Stage(
        "all-people-shallow",
        "Parts of a face, all training people",
        "As with the listed pairs: a receptive field of half a face, more augmentation, four times the weight "
        "decay and twice the batches get further with a fifth of the weights.",
        (
            Variant(
                "shallow",
                "three blocks, 5,632 batches of two pairs of 32 people, half again as much augmentation, weight decay "
                "0.2",
                _SHALLOW,
            ),
        ),
        seeds=5,
    ),
)

BEYOND = Ladder("beyond", "other networks, trained in other ways", _STAGES, own_epochs=True, calibrated=True)
