"""A user's own stages, from a file or the command line."""

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from lfwstudy import cli
from lfwstudy.errors import ConfigError, StudyError
from lfwstudy.ladder import LADDERS, own_stages
from lfwstudy.report import data_tables, pages, summary, wording
from lfwstudy.study.results import Results
from lfwstudy.study.settings import Settings
from lfwstudy.study.study import Study
from lfwstudy.system.files import read_csv, read_json, write_json

DOCS = Path(__file__).resolve().parents[1] / "docs"
VARIANT = {"id": "half", "title": "half", "changes": {"training.learning_rate": 0.0005}}
STAGE = {"id": "mine", "title": "Mine", "hypothesis": "It helps.", "variants": [VARIANT]}
TOML = """[[stages]]
id = "mine"
title = "Mine"
hypothesis = "It helps."
{more}
[[stages.variants]]
id = "half"
title = "half"
changes = {{ {changes} }}
"""


def opened(out, changes="training.learning_rate = 0.0005", more="", tail="", file="my.toml", **settings):
    """A study with a stage of the user's own."""
    path = out / file
    path.write_text(TOML.format(changes=changes, more=more) + tail)
    return Study(Settings(out=str(out / "study"), precision="float32", stages_file=str(path), **settings))


def asked(study):
    study.ask(study.requested())
    return study


def test_the_file_of_the_docs_is_the_one_they_print_and_does_what_it_says(tmp_path):
    text = (DOCS / "own-stages.toml").read_text()
    assert f"```toml\n{text}```" in (DOCS / "adding-a-stage.md").read_text()
    study = asked(Study(Settings(out=str(tmp_path), stages_file=str(DOCS / "own-stages.toml"))))
    assert [spec.stage for spec in study.certain()] == ["base", "learning-rate", "learning-rate"]
    for variant in study.ladder.stage("learning-rate").variants:
        ((key, old, new),) = study.base().change(variant.changes).differences(study.base())
        assert variant.title == f"{key.partition('.')[2].replace('_', ' ')} {new:g} instead of {old:g}"


def test_many_settings_of_one_variant_have_an_id_that_fits():
    options = ("label_epsilon_originals=0.01", "label_epsilon_copies=0.03", "augmented_copies=2", "patience=30")
    ((variant,),) = (
        stage.variants
        for stage in own_stages.of_settings([f"training.{one}" for one in options] + ["model.initializer=he-fan-in"])
    )
    assert len(variant.id) <= 100 and variant.id.startswith("label_epsilon_originals-0.01-label_epsilon_copies-0.03")
    assert "initializer = he-fan-in" in variant.title


@pytest.mark.long
def test_the_file_of_the_docs_runs_and_the_report_has_its_stage(tmp_path):
    (stage,) = tomllib.loads((DOCS / "own-stages.toml").read_text())["stages"]
    command = ["run", "--profile", "speck", "--out", str(tmp_path), "--stages-file", str(DOCS / "own-stages.toml")]
    assert cli.main(command) == 0
    rows = read_csv(tmp_path / "results.csv")
    variants = [(stage["id"], variant["id"]) for variant in stage["variants"]]
    assert [(row["stage"], row["variant"]) for row in rows] == [("base", "base"), *variants]
    assert len({row["run"] for row in rows}) == 3 and all(row["test_accuracy"] for row in rows)
    page = (tmp_path / "html" / "01_stage-learning-rate.html").read_text()
    assert stage["title"] in page and stage["hypothesis"] in page and "tenth" in page
    report = (tmp_path / "report.html").read_text()
    links = 'href="#stage-learning-rate"', 'id="stage-learning-rate"'
    assert all(link in report for link in links) and stage["hypothesis"] in report


def test_a_study_knows_its_own_stages_without_the_file(tmp_path, trained):
    trained[1]["mine/half"] = (0.9, 0.3)
    study = asked(opened(tmp_path, stages="base,early-stopping"))
    assert study.stages() == ["base", "early-stopping", "mine"]
    study.climb(train=True)
    study.write_results()
    (tmp_path / "my.toml").unlink()
    for reader in (Results.open(study.out), Study(Settings(out=str(study.out), precision="float32"))):
        rung = reader.climb()[-1]
        assert (rung.stage.id, rung.stage.hypothesis, rung.complete()) == ("mine", "It helps.", True)
        assert reader.published(rung.candidates[0]) is None
        # What compare, verify and the explorers take: the best of the study.
        assert rung.carries("half") and reader.best_run()["stage"] == reader.best().stage == "mine"
        assert rung.candidates[0].config.differences(rung.before.config) == [("training.learning_rate", 0.001, 0.0005)]
    assert [row["stage"] for row in read_csv(study.out / "results.csv")][-1] == "mine"
    heading = wording.stage_heading(reader, "mine")
    assert "mine: Mine" in heading and heading.endswith("It helps.")
    assert "01_stage-mine" in [page.stem for page in pages.all_pages(reader)]
    # All of the ladder, its own stages included, and no run of it trained again.
    assert reader.requested()[-2:] == ["lr-schedule", "mine"]
    done = len(trained[0])
    asked(opened(tmp_path, stages="base,early-stopping")).climb(train=True)
    assert len(trained[0]) == done


def test_a_stage_that_is_not_carried_says_so_and_no_reason_that_is_another_stages(tmp_path, trained):
    trained[1]["mine/half"] = (0.9, 0.3)
    rung = asked(opened(tmp_path, more="carry = false")).climb(train=True)[-1]
    told = summary.outcome(Results.open(tmp_path / "study"), rung)
    assert "By design, this stage is never carried forward. " in told and "slower" not in told


def test_a_ladder_that_follows_the_report_says_why_it_carries_no_stage_of_the_user(tmp_path, trained):
    trained[1]["mine/half"] = (0.9, 0.3)
    study = asked(opened(tmp_path, select="report"))
    told = summary.outcome(study, study.climb(train=True)[-1])
    assert "The incumbent stays: this ladder follows the report's choices." in told


def test_covered_faces_are_named_among_the_augmentations(tmp_path, monkeypatch):
    study = opened(tmp_path, "training.cover = 0.5, training.augmented_copies = 0")
    study.record.ladder = replace(study.ladder, stages=study.ladder.stages[-1:])
    assert "(share of images with covered eyes or brow: 0.5)" in data_tables.variation(study)


def test_a_stages_text_is_shown_as_it_is_written(tmp_path):
    study = asked(opened(tmp_path, more='after = "base"'))
    stage = replace(study.ladder.stage("mine"), title="filters <3x3> & fewer", hypothesis="P(same) <b>0.5")
    study.record.ladder = replace(study.ladder, stages=(stage,))
    assert "mine: filters &lt;3x3&gt; &amp; fewer" in (told := wording.stage_heading(study, "mine"))
    assert told.endswith("P(same) &lt;b&gt;0.5")


def test_each_set_adds_a_rival_from_the_same_incumbent(tmp_path, trained):
    def run(*options):
        study = asked(Study(Settings(out=str(tmp_path / "out"), precision="float32", set_options=options)))
        study.climb(train=True)
        return study

    run("training.learning_rate=1e-4")
    run("training.learning_rate=0.0001")  # the same again
    study = run("model.initializer=he-fan-in", "training.zoom=[0.9, 1.1]", "training.patience=none")
    assert study.stages() == ["base", "own"]
    one, other = study.climb()[-1].candidates
    assert (one.variant, one.config.training.learning_rate) == ("learning_rate-0.0001", 0.0001)
    assert other.variant == "initializer-he-fan-in-zoom-0.9-1.1-patience-none"
    assert (other.config.model.initializer, other.config.training.zoom) == ("he-fan-in", (0.9, 1.1))
    assert other.config.training.patience is None and other.config.training.learning_rate == 0.001
    assert len(trained[0]) == 3


@pytest.mark.parametrize(
    "option, words",
    [
        ("training.lerning_rate=1", "did you mean 'training.learning_rate'"),
        ("training.learning_rate=fast", "learning_rate must be a number from 0 to 10, got 'fast'"),
        ("training.epochs=2.5", "epochs must be a whole number of at least 1, got 2.5"),
        ("training.learning_rate", "not SECTION.FIELD=VALUE"),
        ("data.split=random", "data.split is the same for all stages of a study"),
        (
            "training.flip=true",
            "cannot be combined; it may start from augmentation: impatient, so change one of training.",
        ),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line(tmp_path, capsys, option, words):
    assert cli.main(["run", "--set", option, "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --set: ") and words in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "changes, more, words",
    [
        ("training.learning_rate = true", "", "variant half: learning_rate must be a number from 0 to 10, got True"),
        ("training.zoom = 3", "", "variant half: zoom must be a range"),
        ("data.filter = 'nearset'", "", "variant half: unknown filter 'nearset'; did you mean 'nearest'"),
        ("", "", "variant half: changes must be a table of settings"),
        ("model.width = 0.5", "carry = 'no'", "carry must be true or false, got 'no'"),
        ("model.width = 0.5", "seeds = 0", "seeds must be a whole number from 1 to 1000, got 0"),
        ("model.width = 0.5", "tilte = 'x'", "unknown entry 'tilte'; did you mean 'title'"),
        ("model.width = 0.5", "after = 'bsae'", "did you mean 'base'"),
        (
            "training.flip = true",
            "after = 'base'",
            "augmentation: impatient may build on it, so give the stage carry = false",
        ),
    ],
)
def test_a_wrong_file_is_refused_naming_file_stage_and_value(tmp_path, changes, more, words):
    with pytest.raises(ConfigError, match=re.escape(words)) as refused:
        opened(tmp_path, changes, more)
    assert str(refused.value).startswith(f"{tmp_path / 'my.toml'}: stage mine: ") and "\n" not in str(refused.value)
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    "stages, words",
    [
        (None, "no [[stages]]"),
        ([STAGE, STAGE], "two stages have the id mine"),
        ([STAGE | {"variants": [VARIANT, VARIANT]}], "stage mine: two variants have the id half"),
        ([STAGE | {"variants": []}], "stage mine: it has no [[stages.variants]]"),
        ([STAGE | {"id": "cohort"}], "stage cohort: the package has a stage of this id"),
        ([STAGE | {"id": "../mine"}], "an id is a word"),
        ([{key: value for key, value in STAGE.items() if key != "title"}], "stage mine: it has no title"),
        ([STAGE | {"variants": [VARIANT | {"title": 3}]}], "stage mine: variant half: title must be text, got 3"),
        ([3], "it has no [[stages.variants]]"),
    ],
)
def test_tables_that_are_no_stages_are_refused(stages, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        own_stages.parse(stages)


def test_variants_that_a_profile_makes_equal_are_refused():
    changes = [{"training.epochs": 10}, {"training.epochs": 11}]
    variants = [VARIANT | {"id": f"v{n}", "changes": changes[n]} for n in range(2)]
    stages = own_stages.parse([STAGE | {"variants": variants}])
    assert own_stages.extend(LADDERS["report"], stages, "report").stages[-1] == stages[0]
    with pytest.raises(ConfigError, match="stage mine: variant v1: equal to variant v0 in the profile quick"):
        own_stages.extend(LADDERS["report"], stages, "quick")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(StudyError, match="missing.toml: not a readable TOML file"):
        own_stages.read(tmp_path / "missing.toml")
    (tmp_path / "broken.toml").write_text("[[stages]\n")
    with pytest.raises(StudyError, match=r"broken.toml: not a readable TOML file .*line 1"):
        own_stages.read(tmp_path / "broken.toml")


def test_stages_stand_where_they_say_and_in_the_order_given():
    stages = own_stages.parse(
        [STAGE | {"id": name, "after": after} for name, after in (("a", "base"), ("b", "base"), ("c", ""), ("d", "a"))]
    )
    found = [stage.id for stage in own_stages.extend(LADDERS["beyond"], stages, "cpu").stages]
    assert found[:5] == ["base", "a", "d", "b", "crop"] and found[-1] == "c"


def test_a_file_may_add_to_a_study_but_not_change_what_it_has(tmp_path, trained):
    study = asked(opened(tmp_path))
    study.climb(train=True)
    before = (study.out / "study.json").read_text()
    with pytest.raises(ConfigError, match=r"my.toml: stage mine: variant half: .* 0.0005}, not .* 0.0002}; give"):
        opened(tmp_path, "training.learning_rate = 0.0002")
    assert (study.out / "study.json").read_text() == before
    more = '[[stages.variants]]\nid = "tenth"\ntitle = "tenth"\nchanges = { training.learning_rate = 0.0001 }\n'
    grown = asked(opened(tmp_path, tail=more))
    assert [c.score is not None for c in grown.climb()[-1].candidates] == [True, False]
    # Another ladder of the folder has its own.
    other = Study(Settings(out=str(study.out), precision="float32", ladder="beyond"))
    assert "mine" not in [stage.id for stage in other.ladder.stages]


def test_stages_of_two_files_stand_side_by_side(tmp_path):
    first, second = opened(tmp_path), Study(Settings(out=str(tmp_path / "study"), precision="float32"))
    asked(first)
    assert "mine" not in [stage.id for stage in second.ladder.stages]  # opened before
    second.ask(["stride"])
    assert second.stages() == ["base", "stride", "mine"]


def test_a_damaged_record_of_own_stages_is_refused(tmp_path):
    study = asked(opened(tmp_path))
    content = read_json(study.out / "study.json")
    for damaged in ([], {"report": 3}, {"report": [STAGE | {"id": "../../x"}]}):
        write_json(study.out / "study.json", content | {"own_stages": damaged})
        with pytest.raises(StudyError, match="not a readable study"):
            Results.open(study.out)
