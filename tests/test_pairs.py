import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lfwstudy.data.pair_files import from_csv
from lfwstudy.data.pairs import calibration_pairs, person_of, read_people, read_view1, read_view2
from lfwstudy.errors import DataError

VIEW1 = "2\nAda\t1\t2\nBo\t1\t3\nAda\t1\tBo\t2\nBo\t1\tCy_D\t1\n"


def write(folder, text):
    path = folder / "pairs.txt"
    path.write_bytes(text.encode())
    return path


def test_view1_reads_matched_then_mismatched(tmp_path):
    pairs = read_view1(write(tmp_path, VIEW1))
    assert pairs.left.tolist() == ["Ada_0001", "Bo_0001", "Ada_0001", "Bo_0001"]
    assert pairs.right.tolist() == ["Ada_0002", "Bo_0003", "Bo_0002", "Cy_D_0001"]
    assert pairs.label.tolist() == [1, 1, 0, 0]
    assert pairs.line.tolist() == [2, 3, 4, 5]
    assert pairs.people().tolist()[3] == ["Bo", "Cy_D"]


@pytest.mark.parametrize(
    "change",
    [lambda t: t.rstrip("\n"), lambda t: t.replace("\n", "\r\n"), lambda t: t + "\n\n", lambda t: "\ufeff" + t],
)
def test_line_ends_do_not_matter(tmp_path, change):
    assert read_view1(write(tmp_path, change(VIEW1))).content() == read_view1(write(tmp_path, VIEW1)).content()


def test_calibration_pairs_are_few_matched_and_many_mismatched():
    images = np.array(sorted([f"A_{n:04d}" for n in range(1, 6)] + ["B_0001", "B_0002", "C_0001"]))
    pairs = calibration_pairs(images)
    same = pairs.people()[:, 0] == pairs.people()[:, 1]
    assert (pairs.label == same).all() and same.sum() == 3 + 1 and (~same).sum() == 5 * 2 + 5 + 2
    assert len({(a, b) for a, b in zip(pairs.left, pairs.right)}) == len(pairs) and (pairs.left != pairs.right).all()
    some, again = calibration_pairs(images, 1, 6), calibration_pairs(images, 1, 6)
    assert some.label.tolist() == [1] * 2 + [0] * 6 and some.content() == again.content()
    assert set(some.content()) < set(pairs.content())


def test_view2_numbers_its_folds(tmp_path):
    pairs = read_view2(write(tmp_path, "2\t1\nA\t1\t2\nA\t1\tB\t1\nC\t1\t2\nC\t1\tD\t1\n"))
    assert pairs.fold.tolist() == [1, 1, 2, 2]
    assert pairs.label.tolist() == [1, 0, 1, 0]


def test_people_of_one_and_of_several_sets(tmp_path):
    assert read_people(write(tmp_path, "2\nA\t1\nB\t4")) == [{"A": 1, "B": 4}]
    assert read_people(write(tmp_path, "2\n1\nA\t1\n2\nB\t4\nC\t1\n")) == [{"A": 1}, {"B": 4, "C": 1}]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_view1(tmp_path / "none.txt")


def test_names_are_composed(tmp_path):
    nfd, nfc = "Rene\u0301e", "Ren\u00e9e"
    assert read_view1(write(tmp_path, f"1\n{nfd}\t1\t2\n{nfd}\t1\tB\t1\n")).left.tolist() == [f"{nfc}_0001"] * 2
    assert read_people(write(tmp_path, f"1\n{nfd}\t1\n")) == [{nfc: 1}]
    with pytest.raises(DataError, match="line 3.*one person"):
        read_view1(write(tmp_path, f"1\nA\t1\t2\n{nfd}\t1\t{nfc}\t1\n"))


MATCHED, MISMATCHED = (
    "name,imagenum1,imagenum2\nAda,1,2\nBo,1,3\n",
    "name,imagenum1,name,imagenum2\nAda,1,Bo,2\nBo,1,Cy_D,1\n",
)
FOLDS = "name,imagenum1,imagenum2,\nA,1,2,\nA,1,B,1\nC,1,2,\nC,1,D,1\n"


@pytest.mark.parametrize(
    "name, tables, text",
    [
        ("pairsDevTrain.txt", [MATCHED, MISMATCHED], VIEW1),
        ("pairsDevTest.txt", [MATCHED + MISMATCHED.partition("\n")[2]], VIEW1),
        (
            "pairsDevTest.txt",
            [MATCHED.replace(",", ";").replace("\n", "\r\n"), "\ufeff" + MISMATCHED.replace("\n", ",,\n\n")],
            VIEW1,
        ),
        ("pairs.txt", [FOLDS], "2\t1\nA\t1\t2\nA\t1\tB\t1\nC\t1\t2\nC\t1\tD\t1\n"),
        (
            "pairsDevTrain.txt",
            ['"Smith, John",1,2\n"Smith, John",1,B,1\n'],
            "1\nSmith, John\t1\t2\nSmith, John\t1\tB\t1\n",
        ),
        ("peopleDevTrain.txt", ["name,images\nA,1\nB,4\n"], "2\nA\t1\nB\t4\n"),
        ("people.txt", ["name,images,\nA,1\nC,2,\nB,4\n"], "2\n2\nA\t1\nC\t2\n1\nB\t4\n"),
        ("people.txt", ["10,\n1,\nA,1\n2,\nB,4\nC,1\n"], "2\n1\nA\t1\n2\nB\t4\nC\t1\n"),
    ],
)
def test_csv_files_become_the_published_text(name, tables, text):
    assert from_csv(name, [("some.csv", table.encode()) for table in tables]) == text


@pytest.mark.parametrize(
    "name, table, words",
    [
        ("pairsDevTrain.txt", "name,a,b\nAda,1,x\n", "some.csv, line 2.*'x'"),
        ("pairsDevTrain.txt", MATCHED, "some.csv.*matched"),
        ("pairsDevTrain.txt", MISMATCHED, "some.csv, line 2.*matched pairs come first"),
        ("pairsDevTrain.txt", FOLDS, "one set"),
        ("pairs.txt", MATCHED + MISMATCHED, "some.csv"),
        ("pairsDevTrain.txt", "name,a,b\n", "no rows"),
        ("people.txt", "A,1\nB,1\n", "several sets"),
        ("people.txt", "A,1,2\n", "line 1.*'A,1,2'"),
        ("peopleDevTrain.txt", "B,1\nA,x\n", "line 2.*'x'"),
        ("pairsDevTrain.txt", "<html>", "web page"),
        ("pairsDevTrain.txt", "=A,1,2\n", "line 1.*'=A'"),
        ("pairsDevTrain.txt", "y" * 200_000, "some.csv, line 1"),
    ],
)
def test_malformed_csv_names_file_line_and_value(name, table, words):
    with pytest.raises(DataError, match=words) as error:
        from_csv(name, [("some.csv", table.encode())])
    assert len(str(error.value)) < 300 and "\n" not in str(error.value)


def test_person_of_keeps_underscores():
    assert person_of(["Ada_B_Lovelace_0012"]).tolist() == ["Ada_B_Lovelace"]


@pytest.mark.lfw
def test_official_files_have_the_published_sizes(lfw_dir):
    train, test = (read_view1(f"{lfw_dir}/pairsDev{part}.txt") for part in ("Train", "Test"))
    assert (len(train), len(test)) == (2200, 1000)
    assert (len(train.names()), len(test.names())) == (3443, 1549)
    assert not set(train.people().ravel()) & set(test.people().ravel())
    assert len(read_view2(f"{lfw_dir}/pairs.txt")) == 6000
    assert [len(s) for s in read_people(f"{lfw_dir}/people.txt")] == [601, 555, 552, 560, 567, 527, 597, 601, 580, 609]


@pytest.mark.parametrize(
    "name", ["Ren\u00e9e O'Hara", 'A "B" C', "<b>Bo", "J.R.", "\u738b\u82b3", "A_B_0001", "x" * 200]
)
def test_unusual_names_are_names(tmp_path, name):
    pairs = read_view1(write(tmp_path, f"1\n{name}\t1\t2\n{name}\t1\tB\t1\n"))
    assert pairs.people().tolist() == [[name, name], [name, "B"]]


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_readers_raise_only_their_own_errors_on_bytes(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.txt"
        path.write_bytes(content)
        for read in (read_view1, read_view2, read_people):
            try:
                read(path)
            except DataError as error:
                assert "pairs.txt" in str(error) and "\n" not in str(error)


@given(
    st.lists(
        st.lists(st.sampled_from(["A", "B", "1", "2", "0", "", " ", "\u2028", "-1", "10"]), max_size=5), max_size=8
    )
)
@settings(max_examples=300, deadline=None)
def test_readers_raise_only_their_own_errors_on_lines(lines):
    test_readers_raise_only_their_own_errors_on_bytes.hypothesis.inner_test(
        "\n".join("\t".join(f) for f in lines).encode()
    )
