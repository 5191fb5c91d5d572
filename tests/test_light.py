import shutil
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from lfwstudy.config import DataConfig, RunConfig
from lfwstudy.data.archives import read_images
from lfwstudy.data.images import decode
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import load_pairs
from lfwstudy.errors import DataError
from tools import light


@pytest.mark.parametrize("crop, side", [(144, 96), (184, 105)])
def test_framings_are_exactly_those_of_the_source(faces, tmp_path, crop, side):
    config = DataConfig(dataset="lfw-a", crop=crop, side=side)
    path = light.pack("lfw-a", str(faces), tmp_path)
    packed, whole = light.bank(tmp_path, config), prepare_bank(config, str(faces))
    assert 20 < len(packed) < len(whole) and path.stat().st_size < 0.75 * 250**2 * len(packed)
    same = whole.subset(packed.names)
    for name in ("images", "names", "sha256"):
        np.testing.assert_array_equal(getattr(packed, name), getattr(same, name))
    assert packed.digest(packed.names) == whole.digest(packed.names)
    with pytest.raises(DataError, match="enough for crops of 184 pixels"):
        light.bank(tmp_path, DataConfig(dataset="lfw-a", crop=250))


def test_an_unpacked_folder_is_a_data_folder_for_view2(faces, tmp_path, capsys):
    folder, options = str(tmp_path / "small"), ["--dataset", "lfw-a"]
    assert light.main(["pack", folder, *options, "--data-dir", str(faces), "--all-images", "--middle", "160"]) == 0
    assert light.main(["unpack", folder, *options, "--crop", "144", "--side", "96"]) == 0
    changes = {
        "data.crop": 144,
        "data.side": 96,
        "data.pictures": "all-people",
        "data.protocol": "view2",
        "data.fold": 3,
    }
    config = RunConfig().change({"data.dataset": "lfw-a", **changes}).data
    digests = [load_pairs(config, at).digest(prepare_bank(config, at)) for at in (folder, str(faces))]
    assert digests[0] == digests[1]
    assert light.main(["unpack", folder, *options, "--crop", "150"]) == 2
    assert "crops of 144 pixels" in capsys.readouterr().err


def test_what_cannot_be_packed_or_unpacked_is_one_line(faces, tmp_path, capsys):
    source, packed, options = tmp_path / "source", tmp_path / "packed", ["--dataset", "lfw-a"]
    shutil.copytree(faces, source)
    shutil.rmtree(next((source / "lfw2").iterdir()))
    assert light.main(["pack", str(packed), *options, "--data-dir", str(source), "--all-images"]) == 2
    assert "is missing (" in capsys.readouterr().err and not packed.exists()
    assert light.main(["unpack", str(packed), *options]) == 2 and "no images.light here" in capsys.readouterr().err
    packed.mkdir()
    (packed / light.NAME).write_bytes(b"cut short")
    assert light.main(["unpack", str(packed), *options]) == 2 and "pack it again" in capsys.readouterr().err


def test_framings_of_photographs_are_exactly_those_of_the_source(lfw_dir, tmp_path):
    files = sorted(islice(read_images(next(Path(lfw_dir).glob("lfw-deepfunneled*"))), 150))
    light.write(tmp_path / light.NAME, files)
    packed = light.bank(tmp_path, DataConfig(dataset="lfw-deepfunneled", crop=160, side=128))
    for (name, content), image in zip(files, packed.images, strict=True):
        np.testing.assert_array_equal(image, decode(content, name, 160, 128, "bilinear"), err_msg=name)
