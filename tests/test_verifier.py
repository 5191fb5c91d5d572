"""Two photos compared by the network that comes with the package: as the command does it, and from Python."""

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from lfwstudy import load_verifier
from lfwstudy.errors import DataError
from lfwstudy.verify.verifier import verify_photos


def test_two_photos_are_scored_without_any_study(faces, tmp_path, monkeypatch):
    photo = next(faces.rglob("*.jpg"))
    monkeypatch.chdir(tmp_path)
    answer = verify_photos(photo, photo, left_box=(70, 70, 180, 180), right_box=(70, 70, 180, 180))
    assert re.fullmatch(
        r"same person: P\(same\) [01]\.\d\d, threshold 0\.50 \(network: shipped with lfwstudy\)", str(answer)
    )
    assert not answer.is_demo


def test_photos_are_compared_and_embedded_from_python(faces, tmp_path):
    paths = sorted(faces.rglob("*.jpg"))[:2]
    box = (70, 70, 180, 180)
    verifier, answer = load_verifier(), verify_photos(*paths, left_box=box, right_box=box)
    assert verifier.score(*paths, left_box=box, right_box=box) == answer.score
    assert verifier.score(*map(Image.open, paths), left_box=box, right_box=box) == pytest.approx(answer.score, abs=1e-6)
    embeddings = verifier.embed(paths, boxes=[box, box])
    assert embeddings.shape[0] == 2 and embeddings.dtype == np.float32
    assert verifier.network.score(embeddings[:1], embeddings[1:]) == pytest.approx(answer.score, abs=1e-6)
    with pytest.raises(DataError, match="no face found.*with left_box"):
        verifier.score(Image.new("L", (300, 300), 90), paths[0], right_box=box)


def test_importing_the_package_alone_loads_no_library():
    code = "import sys, lfwstudy; print(sorted({'numpy', 'PIL', 'keras'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
