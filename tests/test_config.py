import pytest

from lfwstudy.config import DataConfig, ModelConfig, RunConfig, TrainingConfig
from lfwstudy.errors import ConfigError


def test_json_round_trip_keeps_everything():
    config = RunConfig().change(
        {
            "model.batchnorm": "before-activation",
            "training.zoom": (0.9, 1.1),
            "training.patience": 7,
            "data.dataset": "lfw",
        }
    )
    assert RunConfig.from_dict(config.to_dict()) == config


def test_id_is_stable_across_versions_of_the_code():
    assert RunConfig().identify(0, "float32", "d") == "764c3f9e1523020e"


def test_id_does_not_depend_on_how_a_number_is_written():
    whole, decimal = (RunConfig().change({"model.width": width}) for width in (2, 2.0))
    assert repr(whole) == repr(decimal)
    assert whole.identify(0, "float32", "d") == decimal.identify(0, "float32", "d")


@pytest.mark.parametrize("change", [("seed", 1), ("precision", "bfloat16"), ("data_digest", "e")])
def test_id_depends_on_seed_precision_and_data(change):
    given = {"seed": 0, "precision": "float32", "data_digest": "d"}
    assert RunConfig().identify(**given) != RunConfig().identify(**{**given, change[0]: change[1]})


def test_id_depends_on_every_setting():
    other = {
        "data.dataset": "lfw",
        "data.crop": 200,
        "data.side": 96,
        "data.filter": "box",
        "data.split": "random",
        "data.pairs_per_class": 50,
        "model.pool1_stride": 1,
        "model.batchnorm": "after-activation",
        "model.width": 0.5,
        "model.l2": 0.0,
        "model.initializer": "he-fan-in",
        "training.epochs": 3,
        "training.batch_size": 32,
        "training.learning_rate": 0.01,
        "training.patience": 5,
        "training.checkpoint_period": 5,
        "training.augmented_copies": 2,
        "training.zoom": (1.0, 1.0),
        "training.brightness": (1.0, 1.0),
        "training.shear": 0.0,
        "training.label_epsilon_copies": 0.03,
        "training.label_epsilon_originals": 0.01,
        "training.lr_drop_epoch": 40,
        "data.split_seed": 1,
        "data.pictures": "all-people",
        "model.architecture": "compact",
        "model.head": "cosine",
        "model.dropout": 0.1,
        "model.stem_stride": 2,
        "model.pooling": "generalised-mean",
        "model.flip_average": True,
        "training.optimizer": "adamw",
        "training.schedule": "cosine",
        "training.warmup": 1,
        "training.weight_decay": 0.1,
        "training.flip": True,
        "training.shift": 0.1,
        "training.online_zoom": 0.1,
        "training.rotation": 5.0,
        "training.online_brightness": 0.1,
        "training.erase": 0.5,
        "training.contrast": 1.0,
        "training.temperature": 0.2,
        "training.drawn_people": 100,
        "training.pairs_per_person": 2,
        "training.least_pictures": 2,
        "model.head_l2": 0.01,
        "model.neighbours": 20,
        "training.average": 0.99,
        "training.cover": 0.5,
        "data.validation_offset": 2,
        "data.calibration": "all-pairs",
        "training.monitor": "val_cross_entropy",
        "training.stretch_copies": True,
        "training.separate_twins": True,
    }
    settings = {f"{section}.{name}" for section, values in RunConfig().to_dict().items() for name in values}
    # These five go only with others.
    alone = {"data.protocol", "data.fold", "training.evaluated", "model.cohort", "model.whitening"}
    assert settings - set(other) == alone
    cosine = RunConfig().change({"model.head": "cosine", "model.architecture": "compact"})
    for setting, value in (("model.cohort", 64), ("model.whitening", 0.5)):
        assert cosine.change({setting: value}).identify(0, "float32", "d") != cosine.identify(0, "float32", "d")
    ids = {RunConfig().change({key: value}).identify(0, "float32", "d") for key, value in other.items()}
    assert len(ids) == len(other)
    assert RunConfig().identify(0, "float32", "d") not in ids


@pytest.mark.parametrize(
    "make, word",
    [
        (lambda: DataConfig(split="sideways"), "sideways"),
        (lambda: DataConfig(crop=0), "crop"),
        (lambda: DataConfig(side="105"), "side"),
        (lambda: DataConfig(protocol="view2"), "fold"),
        (lambda: DataConfig(fold=3), "fold"),
        (lambda: DataConfig(filter="nearset"), "did you mean 'nearest'"),
        (lambda: ModelConfig(pool1_stride=3), "pool1_stride"),
        (lambda: ModelConfig(batchnorm=""), "batchnorm"),
        (lambda: ModelConfig(cohort=64), "cosine head"),
        (lambda: ModelConfig(cohort=-1), "cohort"),
        (lambda: ModelConfig(cohort="some"), "from 0 to 20000, or all"),
        (lambda: ModelConfig(whitening=0.5, architecture="compact"), "cosine head"),
        (lambda: ModelConfig(whitening=0.5, head="cosine"), "linear last layer"),
        (lambda: ModelConfig(whitening=1), "whitening"),
        (lambda: TrainingConfig(epochs=0), "epochs"),
        (lambda: TrainingConfig(zoom=(1.1, 0.9)), "zoom"),
        (lambda: TrainingConfig(zoom="wide"), "zoom"),
        (lambda: TrainingConfig(patience=0), "patience"),
        (lambda: TrainingConfig(learning_rate=float("nan")), "learning_rate"),
        (lambda: RunConfig().change({"training.lerning_rate": 1}), "did you mean .training.learning_rate"),
        (lambda: RunConfig.from_dict({"data": 3}), "not a run configuration"),
        (lambda: TrainingConfig(evaluated="best-checkpoint"), "checkpoint_period"),
        (lambda: TrainingConfig(learning_rate=True), "learning_rate"),
        (lambda: TrainingConfig(batch_size=8, pairs_per_person=5), "pairs_per_person"),
        (lambda: TrainingConfig(least_pictures=0), "least_pictures"),
        (lambda: RunConfig().change({"training.epoch": 3}), "training.epoch"),
        (lambda: RunConfig.from_dict({"extra": {}}), "extra"),
    ],
)
def test_wrong_settings_are_refused_by_name(make, word):
    with pytest.raises(ConfigError, match=word):
        make()


def test_differences_name_setting_and_both_values():
    changed = RunConfig().change({"training.patience": 5})
    assert changed.differences(RunConfig()) == [("training.patience", None, 5)]


def test_a_setting_of_an_earlier_version_is_read_where_it_changed_nothing():
    content = RunConfig().to_dict()
    content["training"]["drawn_pairs"] = None
    assert RunConfig.from_dict(content) == RunConfig()
    content["training"]["drawn_pairs"] = 5
    with pytest.raises(ConfigError, match="drawn_pairs"):
        RunConfig.from_dict(content)
