"""The report's ladder, as the report describes itself."""

from lfwstudy.ladder.stage import Changes, Ladder, Published, Stage, Variant, model, training

# From the stage early-stopping on, the checkpoint with the lowest total validation loss is evaluated.
CHECKPOINTS = training(evaluated="best-checkpoint", checkpoint_period=5, monitor="val_loss")


def normalised(placement: str, patience: int = 5, epochs: int = 200) -> Changes:
    """Batch-norm at a placement, with early stopping."""
    return CHECKPOINTS | model(batchnorm=placement) | training(patience=patience, epochs=epochs)


def augmented(placement: str, patience: int) -> Changes:
    """Two copies of each pair, with batch-norm at a placement."""
    return normalised(placement, patience) | training(augmented_copies=2)


AFTER_RAISING = CHECKPOINTS | training(patience=30, epochs=200)
PENALISED = model(head_l2=0.01)


def _clipped(copies: float, originals: float) -> Changes:
    """Clipped labels; those of copies need copies, regardless of the variant carried forward."""
    clipping = training(label_epsilon_copies=copies, label_epsilon_originals=originals)
    return AFTER_RAISING | training(augmented_copies=2) | clipping


_STAGES = (
    Stage(
        "base",
        "Base network",
        "The network of Koch et al. (2015), trained for a fixed number of epochs, tells same from different better "
        "than chance on people it has never seen.",
        (Variant("base", "200 epochs, the last epoch's weights", {}),),
        report_choice="base",
    ),
    Stage(
        "stride",
        "Stride of the first pooling layer",
        "With stride 1 instead of 2 in the first max-pooling layer the later layers see more detail. The network "
        "becomes eight times larger and about four and a half times slower.",
        (Variant("pool1-stride1", "first pooling with stride 1", model(pool1_stride=1)),),
        carry=False,
    ),
    Stage(
        "early-stopping",
        "Early stopping with checkpoints",
        "Training too long overfits. Stopping once the validation loss has not fallen for some epochs, and returning "
        "to the best checkpoint, gives a better network for less work.",
        (
            Variant("patience5", "patience 5, checkpoint every 5 epochs", CHECKPOINTS | training(patience=5)),
            Variant(
                "patience5-cross-entropy",
                "the same, both watching the cross-entropy alone",
                CHECKPOINTS | training(patience=5, monitor="val_cross_entropy"),
            ),
        ),
        report_choice="patience5",
    ),
    Stage(
        "batchnorm",
        "Placement of batch normalisation",
        "Batch normalisation speeds up and steadies training; its place matters. It is tried before the "
        "activation, after it, and after both activation and pooling.",
        (
            Variant(
                "activation-and-pooling", "after activation and after pooling", normalised("activation-and-pooling")
            ),
            Variant("after-activation", "after activation", normalised("after-activation")),
            Variant(
                "after-activation-patient",
                "after activation, patience 10, at most 300 epochs",
                normalised("after-activation", 10, 300),
            ),
            Variant("before-activation", "before activation", normalised("before-activation")),
        ),
        report_choice="after-activation-patient",
    ),
    Stage(
        "augmentation",
        "Augmented copies",
        "Two augmented copies of every training pair (zoom, shear, brightness) make the training set three times as "
        "large and the network less sensitive to how an image was taken. It needs more patience to learn.",
        (
            Variant("impatient", "batch-norm before activation, patience 5", augmented("before-activation", 5)),
            Variant(
                "before-activation", "batch-norm before activation, patience 20", augmented("before-activation", 20)
            ),
            Variant("after-activation", "batch-norm after activation, patience 20", augmented("after-activation", 20)),
        ),
        report_choice="after-activation",
    ),
    Stage(
        "label-clipping",
        "Clipped labels",
        "Labels slightly away from 0 and 1 keep the network from becoming overconfident about single pairs.",
        (
            Variant("copies", "0.03 on augmented copies", _clipped(copies=0.03, originals=0.0)),
            Variant("copies-and-originals", "0.03 on copies, 0.01 on originals", _clipped(copies=0.03, originals=0.01)),
        ),
    ),
    Stage(
        "lr-schedule",
        "Learning-rate schedule",
        "Dividing the learning rate by 10 once training has slowed lets the network settle.",
        tuple(
            Variant(f"drop{n}", f"learning rate / 10 after epoch {n}", AFTER_RAISING | training(lr_drop_epoch=n))
            for n in (40, 50, 60)
        ),
    ),
)

REPORT = Ladder("report", "the report as it describes itself", _STAGES, PENALISED)

# What the report prints, by stage and variant.
FIGURES = {
    ("base", "base"): Published(0.6770, 1.0066, 200, None, 1.8277, 365.5),
    ("stride", "pool1-stride1"): Published(0.5730, 2.0834, 200, None, 6.9726, 1394.5),
    ("early-stopping", "patience5"): Published(
        *(0.6940, None, 184, 175, 2.0702, 380.9),
        note="the loss 2.0834 is also printed for stride: pool1-stride1, to which it belongs",
    ),
    ("batchnorm", "activation-and-pooling"): Published(0.6740, 0.9671, 183, 175, 2.1923, 438.5),
    ("batchnorm", "after-activation"): Published(0.6820, 0.9811, 200, 200, 2.2615, 416.1),
    ("batchnorm", "after-activation-patient"): Published(0.7030, 0.9642, 221, 215, 2.0542, 454.0),
    ("batchnorm", "before-activation"): Published(
        *(0.7010, None, 155, 150, 2.0203, 369.7),
        note="the loss 0.9642 is also printed for batchnorm: after-activation-patient, to which it belongs",
    ),
    ("augmentation", "impatient"): Published(0.6470, 1.2955, 71, 70, 2.8366, 439.7),
    ("augmentation", "before-activation"): Published(0.7120, 0.9142, 183, 130, 6.0996, 1116.2),
    ("augmentation", "after-activation"): Published(0.7120, 0.9142, 116, 105, 5.2656, 610.8),
    ("label-clipping", "copies-and-originals"): Published(0.6920, 0.8953, 140, 123, 5.7317, 802.4),
    ("lr-schedule", "drop40"): Published(0.6940, 1.0535, 140, 132, 5.9724, 836.1),
}
