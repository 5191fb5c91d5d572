"""Two photos compared by the network that comes with the package: as the command does it, and from Python."""

import json
import re
import resource

import numpy as np
import pytest
from PIL import Image

from lfwstudy import load_verifier
from lfwstudy.cli import main
from lfwstudy.data.drawn_faces import draw_face
from lfwstudy.errors import ConfigError, DataError
from lfwstudy.verify import faces as verify_faces
from lfwstudy.verify.faces import find_faces, largest_face, open_face
from lfwstudy.verify.verifier import Verifier
from tests.support.commands import python


@pytest.fixture(scope="module")
def verifier():
    return load_verifier()


@pytest.fixture
def photos(tmp_path):
    """Files by name: three faces, a photo of two people, and one of a blank wall."""
    drawn = {f"face{number}": Image.fromarray(draw_face([1], [number])) for number in (0, 2, 7)}
    drawn["group"] = Image.new("L", (700, 300), 200)
    drawn["group"].paste(drawn["face7"].resize((150, 150)), (20, 20))
    drawn["group"].paste(drawn["face2"], (250, 20))
    drawn["wall"] = Image.new("L", (300, 300), 90)
    for name, image in drawn.items():
        image.save(tmp_path / f"{name}.png")
    return {name: tmp_path / f"{name}.png" for name in drawn}


def test_two_photos_are_scored_without_any_study(faces, tmp_path, monkeypatch, capsys):
    photo = next(faces.rglob("*.jpg"))
    monkeypatch.chdir(tmp_path)
    box = "70,70,180,180"
    assert main(["verify", str(photo), str(photo), "--left-box", box, "--right-box", box]) == 0
    told = r"same person: P\(same\) [01]\.\d\d, threshold 0\.50 \(network: shipped with lfwstudy\)\n"
    out, err = capsys.readouterr()
    assert re.fullmatch(told, out) and err == ""


def test_photos_are_compared_and_embedded_from_python(faces, tmp_path):
    paths = sorted(faces.rglob("*.jpg"))[:2]
    box = (70, 70, 180, 180)
    verifier = load_verifier()
    score = verifier.score(*paths, left_box=box, right_box=box)
    assert verifier.score(*map(Image.open, paths), left_box=box, right_box=box) == pytest.approx(score, abs=1e-6)
    embeddings = verifier.embed(paths, boxes=[box, box])
    assert embeddings.shape[0] == 2 and embeddings.dtype == np.float32
    assert verifier.network.score(embeddings[:1], embeddings[1:]) == pytest.approx(score, abs=1e-6)
    with pytest.raises(DataError, match="no face found; give the left box in pixels"):
        verifier.score(Image.new("L", (300, 300), 90), paths[0], right_box=box)
    with pytest.raises(DataError, match="no photo"):
        verifier.embed([])


@pytest.mark.parametrize(
    "boxes, taken",
    [
        ([(0, 0, 40, 40), (30, 30, 50, 50)], 0),  # the other one is more central, but has a quarter of the area
        ([(0, 0, 30, 30), (40, 40, 65, 65)], 1),  # the other one is larger, but in the corner
        ([(5, 5, 10, 10)], 0),
    ],
)
def test_the_largest_face_is_taken_unless_another_is_much_more_central(boxes, taken):
    assert largest_face(boxes, (100, 100)) == largest_face(boxes[::-1], (100, 100)) == boxes[taken]


def test_of_several_faces_the_largest_is_compared_with_a_note_or_the_photo_is_refused(photos):
    boxes, notes = find_faces(Image.open(photos["group"])), []
    assert len(boxes) > 1
    box = largest_face(boxes, (700, 300))
    assert open_face(photos["group"], note=notes.append) == open_face(photos["group"], box)
    assert len(notes) == 1 and re.search(r"group\.png: \d faces found; .* used: " + ",".join(map(str, box)), notes[0])
    with pytest.raises(DataError, match=r"group\.png: \d faces found; [\d,; ]+; give the left box"):
        open_face(photos["group"], advised="left box", face="only")
    with pytest.raises(ConfigError, match="did you mean 'largest'"):
        open_face(photos["group"], face="lagest")


def test_a_note_on_several_faces_is_logged_in_python(photos, verifier, caplog):
    verifier.embed([photos["group"]])
    assert "largest, most central" in caplog.text


def test_an_answer_carries_its_threshold_and_notes(photos, verifier, capsys):
    pair = [str(photos["face0"]), str(photos["group"])]
    assert main(["verify", *pair, "--threshold", "1", "--json"]) == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert len(answer["notes"]) == 1 and err == f"note: {answer['notes'][0]}\n"
    assert answer == {
        "same": False,
        "score": verifier.score(*pair),
        "threshold": 1.0,
        "network": "shipped with lfwstudy",
        "demo": False,
        "notes": answer["notes"],
    }


def test_many_pairs_get_their_scores_or_reasons_and_each_photo_is_read_once(photos, verifier, monkeypatch):
    names = [("face0", "face2"), ("wall", "face0"), ("face2", "face7"), ("face7", "face7")]
    pairs, read, open_photo = [(photos[left], photos[right]) for left, right in names], [], verify_faces.open_photo
    alone = [verifier.score(*pairs[row]) for row in (0, 2, 3)]
    monkeypatch.setattr(verify_faces, "open_photo", lambda photo: (read.append(photo), open_photo(photo))[1])
    scores = verifier.score_pairs(pairs)
    assert [scores[row] for row in (0, 2, 3)] == pytest.approx(alone, abs=1e-4)
    assert isinstance(scores[1], DataError) and str(scores[1]) == f"{photos['wall']}: no face found"
    assert scores[1].__traceback__ is None
    assert sorted(read) == sorted({photo for pair in pairs for photo in pair})


def test_many_pairs_none_of_which_can_be_scored(photos, verifier):
    strict = Verifier(verifier.network, face="only")
    assert all(isinstance(score, DataError) for score in strict.score_pairs([(photos["group"], photos["face0"])] * 2))
    assert strict.score_pairs([]) == []


def test_importing_the_package_alone_loads_no_library():
    code = "import sys, lfwstudy; print(sorted({'numpy', 'PIL', 'keras'} & set(sys.modules)))"
    done = python(code, check=True)
    assert done.stdout == "[]\n"


def test_a_pair_is_scored_within_a_second_and_a_half_without_the_heavy_libraries(photos):
    command = ["verify", str(photos["face0"]), str(photos["face2"]), "--json"]
    heavy = {"keras", "tensorflow", "jax", "scipy", "sklearn", "pandas", "matplotlib"}
    code = f"import sys; from lfwstudy.cli import main; main({command}); print(sorted({heavy} & set(sys.modules)))"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = python(code, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stdout.endswith("}\n[]\n")
    # Processor time: other processes of this machine do not count.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.5
