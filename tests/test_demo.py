import numpy as np

from lfwstudy.config import DataConfig
from lfwstudy.data import demo
from lfwstudy.data.pairs import person_of, read_people, read_view1, read_view2
from lfwstudy.data.prepare import prepare_bank


def test_faces_are_the_same_every_time():
    assert (demo.draw_face([0, 1], [0, 2]) == demo.draw_face([0, 1], [0, 2])).all()
    assert demo.draw_face([0, 1], [0, 2]).shape == (250, 250)


def test_two_images_of_a_person_are_more_alike_than_two_people():
    def face(person, image):
        return demo.draw_face([7, person], [8, person, image])[60:200, 60:190].astype(float)

    same = np.mean([np.corrcoef(face(p, 1).ravel(), face(p, 2).ravel())[0, 1] for p in range(60)])
    other = np.mean([np.corrcoef(face(p, 1).ravel(), face(p + 1, 2).ravel())[0, 1] for p in range(60)])
    assert same > other + 0.1


def test_pair_files_hold_together(faces):
    train, test = (read_view1(faces / f"pairsDev{part}.txt") for part in ("Train", "Test"))
    assert (len(train), len(test)) == (40, 20)
    assert not set(train.people().ravel()) & set(test.people().ravel())
    assert len(set(train.content())) == 40
    sets = read_people(faces / "people.txt")
    assert len(sets) == 10 and sum(map(len, sets)) == 60
    view2 = read_view2(faces / "pairs.txt")
    for fold, (a, b) in zip(view2.fold, view2.people()):
        assert a in sets[fold - 1] and b in sets[fold - 1]
    images = {path.stem for path in (faces / "lfw2").rglob("*.jpg")}
    assert set(train.names()) | set(test.names()) | set(view2.names()) <= images
    assert {p: n for s in sets for p, n in s.items()} == {
        str(p): int(n) for p, n in zip(*np.unique(person_of(sorted(images)), return_counts=True))
    }


def test_demo_data_set_is_made_once_and_reused(cache):
    bank = prepare_bank(DataConfig(side=69))
    folder = cache / f"demo-{demo.DEMO_VERSION}"
    stamp = folder.stat().st_mtime_ns
    assert len(bank) > 1000 and demo.ensure_demo() == folder and folder.stat().st_mtime_ns == stamp
    assert not list(cache.glob(".lfwstudy*"))
