"""Coverage and accuracy of `lfwstudy verify` on a copy of LFW, and the figures kept in results/."""

import pytest

from lfwstudy.errors import DataError
from lfwstudy.system.files import read_json
from lfwstudy.verify import FACES
from lfwstudy.verify.kept import SHIPPED
from lfwstudy.verify.verifier import load_verifier
from tools import verify_lfw
from tools.kept_studies import RESULTS


def test_each_rule_is_measured_through_the_whole_path(faces):
    result = verify_lfw.measure("lfw-a", str(faces))
    assert list(result["sets"]) == ["validation", "test"]
    for of_set in result["sets"].values():
        assert list(of_set["rules"]) == [*FACES, verify_lfw.PLAIN]
        largest, only, plain = (rule["scored"] for rule in of_set["rules"].values())
        assert only <= largest <= plain == 1
        for rule in of_set["rules"].values():
            mean, low, high = rule["accuracy"]
            assert low <= mean <= high and 0 <= rule["plain"] <= 1
    told = verify_lfw.table(result).to_markdown()
    assert "the largest, most central one" in told and "(chosen)" in told


def test_the_measured_embeddings_are_those_of_the_command(faces):
    paths = {path.stem: path for path in sorted(faces.rglob("*.jpg"))[:8]}
    verifier = load_verifier(note=lambda text: None)
    images = [(name, path.read_bytes()) for name, path in paths.items()]
    by_rule = verify_lfw._embed(verifier.network, images, set(paths))
    for path, row in zip(paths.values(), verifier.embed_each(paths.values())):
        known = by_rule[FACES[0]][path.stem]
        assert (known is None) == isinstance(row, DataError)
        assert known is None or known == pytest.approx(row, abs=1e-4)
    with pytest.raises(DataError, match=r"gone: no such image \(1 missing\)"):
        verify_lfw._embed(verifier.network, images, {*paths, "gone"})


def test_the_rule_of_the_command_is_the_one_that_was_chosen():
    kept = read_json(RESULTS / "verify.json")
    assert kept["chosen"] == FACES[0] and kept["run"] == read_json(SHIPPED / "run.json")["run"]
