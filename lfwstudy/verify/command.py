"""The commands `lfwstudy verify` and `lfwstudy embed`: their options, and what they print."""

import json
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lfwstudy.errors import ConfigError, DataError, one_line, quoted
from lfwstudy.verify import FACES, THRESHOLD

if TYPE_CHECKING:
    from lfwstudy.verify.verifier import Verifier


def add_verify_options(command: ArgumentParser) -> None:
    """The arguments of `lfwstudy verify`."""
    command.usage = "%(prog)s LEFT RIGHT [options]\n       %(prog)s --pairs PAIRS.csv [options]"
    add = command.add_argument
    for photo in (add("left", metavar="LEFT", help="a photo"), add("right", metavar="RIGHT", help="another photo")):
        photo.required = False  # with nargs="?", no option could stand between the two
    add("--pairs", default="", metavar="PAIRS.csv", help="score the pairs in a CSV file with the columns left,right")
    add("--out-csv", default="", metavar="SCORES.csv", help="with --pairs: where to write the scores (default: print)")
    text = "with --pairs: print the threshold that classifies most pairs correctly; the column label is 1 (same person) or 0"
    add("--fit-threshold", action="store_true", help=text)
    text = "same person above this score (default: %(default)s)"
    add("--threshold", type=float, default=THRESHOLD, metavar="T", help=text)
    add("--json", action="store_true", help="print the answer as a JSON object; with --pairs, one per line")
    for side in ("left", "right"):
        text = f"the face in the {side} photo: left, top, right, bottom in pixels of the upright photo"
        add(f"--{side}-box", type=_box, metavar="L,T,R,B", help=text)
    _shared_options(command)


def add_embed_options(command: ArgumentParser) -> None:
    """The arguments of `lfwstudy embed`."""
    command.add_argument("folder", metavar="FOLDER", help="a folder with photos")
    command.add_argument("--to", required=True, metavar="FILE", help="FILE.npz or FILE.parquet to write")
    _shared_options(command)


def verify(options: Namespace) -> int:
    """Tell whether two photos, or the photos of many pairs, show the same person.

    examples:
      lfwstudy verify a.jpg b.jpg
      lfwstudy verify a.jpg b.jpg --json
      lfwstudy verify a.jpg group.jpg --right-box 120,80,220,180
          one face of several: its box in pixels
      lfwstudy verify a.jpg group.jpg --face only
          refuse photos that show several faces
      lfwstudy verify --pairs pairs.csv --out-csv scores.csv
          many pairs: a header left,right, then a pair per line
      lfwstudy verify --pairs labelled.csv --fit-threshold
          pairs that you know: left,right,label, with label 1 or 0

    Paths in PAIRS.csv are relative to its folder. If a pair cannot be
    scored, its row says why under `error`, and the exit status is 1.
    Photos are framed by a face detector, not aligned like the training images:
    the accuracy on such photos is unmeasured, and the score is no proof of
    identity.
    """
    two, both = bool(options.left or options.right), bool(options.left and options.right)
    if bool(options.pairs) == two or two != both:
        raise ConfigError("give two photos, LEFT RIGHT, or --pairs PAIRS.csv")
    if options.pairs and (options.left_box or options.right_box):
        raise ConfigError("--left-box and --right-box are for two photos, not for --pairs")
    if options.json and options.fit_threshold:
        raise ConfigError("--json and --fit-threshold cannot be combined")
    if (options.out_csv or options.fit_threshold) and not options.pairs:
        raise ConfigError("--out-csv and --fit-threshold need --pairs PAIRS.csv")
    if not 0 <= options.threshold <= 1:
        raise ConfigError(f"--threshold takes a number from 0 to 1, got {options.threshold}")
    return _verify_pairs(options) if options.pairs else _verify_two(options)


def embed(options: Namespace) -> int:
    """Write the embeddings of a folder's photos to a file.

    examples:
      lfwstudy embed photos --to embeddings.npz
          arrays `names` (path in the folder) and `embeddings`
      lfwstudy embed photos --to embeddings.parquet
          columns `name` and `embedding`; needs lfwstudy[parquet]

    Every file in the folder and its subfolders is read, except hidden ones. If
    one cannot be embedded, standard error says why, and the exit status is 1.
    """
    from lfwstudy.verify import many

    target, folder = Path(options.to), Path(options.folder)
    many.check_embeddings_target(target)
    photos = many.photos_in(folder, target)
    embeddings = {}
    for photo, result in zip(photos, _load(options).embed_each(_progress(photos)), strict=True):
        if isinstance(result, DataError):
            _tell(f"error: {result}")
        else:
            name = photo.relative_to(folder).as_posix()
            embeddings[name.encode(errors="backslashreplace").decode()] = result  # not every file name is valid text
    if not embeddings:
        raise DataError(f"{folder}: no face embedded, nothing written")
    many.write_embeddings(target, embeddings)
    print(f"{one_line(target)}: {len(embeddings)} of {len(photos)} photos embedded")
    return int(len(embeddings) < len(photos))


def _verify_two(options: Namespace) -> int:
    notes: list[str] = []
    verifier = _load(options, notes.append)
    score = verifier.score(options.left, options.right, options.left_box, options.right_box)
    for note in notes:
        _note(note)
    network, same, threshold = verifier.network, score > options.threshold, options.threshold
    if options.json:
        answer = {"same": same, "score": score, "threshold": threshold, "network": network.name}
        print(json.dumps(answer | {"demo": network.is_demo, "notes": notes}))
    else:
        words = f"{'same person' if same else 'different people'}: P(same) {score:.2f}, threshold {threshold:.2f}"
        print(one_line(f"{words} (network: {network.name})"))
    return 0


def _verify_pairs(options: Namespace) -> int:
    from lfwstudy.system.files import check_target, csv_text, write_csv
    from lfwstudy.verify import many

    pairs, folder = many.read_pairs(options.pairs, options.fit_threshold), Path(options.pairs).parent
    if options.out_csv:
        check_target(options.out_csv)
        if Path(options.out_csv).resolve() == Path(options.pairs).resolve():
            raise ConfigError(f"--out-csv {options.out_csv} would overwrite the file of pairs; give another name")
    scores = _load(options).score_pairs([(folder / pair["left"], folder / pair["right"]) for pair in pairs], _progress)
    threshold = _fit(pairs, scores, options.threshold) if options.fit_threshold else options.threshold
    rows = many.score_rows(pairs, scores, threshold)
    if options.out_csv:
        write_csv(options.out_csv, many.SCORE_COLUMNS, rows)
    if options.json:
        print(*map(json.dumps, rows), sep="\n")
    elif not (options.out_csv or options.fit_threshold):
        print(csv_text(many.SCORE_COLUMNS, rows), end="")
    failed = sum("error" in row for row in rows)
    if failed:
        _tell(f"error: {failed} of {len(rows)} pairs could not be scored; their rows say why under `error`")
    return int(failed > 0)


def _fit(pairs: Sequence[Mapping[str, str]], scores: Sequence[float | DataError], usual: float) -> float:
    """Fit the threshold on the pairs that have a score, and print what it achieves."""
    from lfwstudy.verify.many import fit_threshold

    known = [(pair["label"] == "1", score) for pair, score in zip(pairs, scores) if not isinstance(score, DataError)]
    fitted = fit_threshold([label for label, _ in known], [score for _, score in known], usual)
    print(fitted)
    return fitted.threshold


def _note(text: str) -> None:
    _tell(f"note: {text}")


def _load(options: Namespace, note: Callable[[str], None] = _note) -> "Verifier":
    from lfwstudy.verify.verifier import load_verifier

    verifier = load_verifier(options.out, options.face, note)
    if verifier.network.is_demo:
        _tell("warning: this network was trained on drawn faces; its answers about real people mean nothing")
    return verifier


def _progress(photos: Sequence[Any]) -> Iterable[Any]:
    from tqdm import tqdm

    return tqdm(photos, desc="reading photos", unit="photo", leave=False, disable=None)


def _tell(text: str) -> None:
    from tqdm import tqdm

    tqdm.write(one_line(text), file=sys.stderr)  # above the bar, where there is one


def _shared_options(command: ArgumentParser) -> None:
    text = "if a photo shows several faces: use the largest, most central one (default), or refuse the photo"
    command.add_argument("--face", default=FACES[0], choices=FACES, help=text)
    text = "study whose best network is used (default: the one shipped with the package)"
    command.add_argument("--out", default="", metavar="DIR", help=text)


def _box(text: str) -> tuple[int, int, int, int]:
    try:
        left, top, right, bottom = map(int, text.split(","))
    except ValueError:
        raise ArgumentTypeError(f"four whole numbers L,T,R,B expected, got {quoted(text)}") from None
    return left, top, right, bottom
