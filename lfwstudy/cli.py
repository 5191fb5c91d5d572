"""The `lfwstudy` command: arguments in, one call out."""

import argparse
import dataclasses
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lfwstudy import __version__
from lfwstudy.config import FILTERS, PRECISIONS, PROTOCOLS, SPLITS, DataConfig
from lfwstudy.errors import ConfigError, StudyError, one_line
from lfwstudy.verify import command as verify

Commands = Any  # argparse does not name the type of its subparsers
EXAMPLES = {
    "data": """examples:
  lfwstudy data                                                  draw the demo faces and count them
  lfwstudy data --dataset lfw-deepfunneled --data-dir ~/lfw      find, decode and count your own copy
  lfwstudy data --dataset lfw --audit                            download LFW; what do the splits share?
  lfwstudy data --dataset lfw-deepfunneled --data-dir ~/lfw --pack lfw-small
                                                                 only the images listed in the pair files, for another machine
  lfwstudy data --dataset folder --data-dir people --audit       people of your own: people/PERSON/any-name.jpg""",
    "run": """examples:
  lfwstudy run                                                   the whole report ladder on demo faces, in minutes
  lfwstudy run --dataset lfw-deepfunneled --data-dir ~/lfw --profile cpu --dry-run
                                                                 what would be trained, how long, how much disk
  lfwstudy run --dataset lfw-deepfunneled --data-dir ~/lfw --profile cpu --stages base,batchnorm --out runs/lfw
                                                                 some stages; later the same --out with others
  lfwstudy run --set training.learning_rate=1e-4                 one setting on top of what is carried forward
  lfwstudy run --stages-file my.toml                             stages of your own (docs/adding-a-stage.md)
Interrupt it whenever you like: the same command resumes.""",
    "report": """examples:
  lfwstudy report --out runs/demo-quick
  lfwstudy report --out runs/demo-quick --pdf                    report.pdf next to report.html: bookmarks, numbered pages""",
    "compare": """examples:
  lfwstudy compare runs/lfw runs/lfw-wider                       the best configurations of two studies, all their seeds
  lfwstudy compare runs/lfw/runs/0ae99af808d2882b runs/lfw --to comparison.html
                                                                 a run against its study's best, as a page with curves""",
    "export": """examples:
  lfwstudy export --to exported                                  results.csv, histories.csv, predictions.csv, tensorboard/
  lfwstudy export --out runs/lfw --to exported                   then: tensorboard --logdir exported/tensorboard""",
    "verify": verify.VERIFY_EXAMPLES,
    "embed": verify.EMBED_EXAMPLES,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status: 0 done, 1 something failed, 2 wrong use or bad input."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal may lack characters of a path
    options = _parser().parse_args(arguments)
    try:
        return options.call(options) or 0
    except StudyError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk, a folder that is not writable
        if isinstance(error, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        else:
            print(f"error: {one_line(error)}{_cache_hint(error)}", file=sys.stderr)
        return 1
    except MemoryError as error:
        print(f"error: out of memory: {one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\ninterrupted{'; the same command resumes' if options.call is run else ''}", file=sys.stderr)
        return 1


def data(options: Namespace) -> None:
    """`lfwstudy data`: find or download, verify, count, prepare; with --audit also what the splits share."""
    from lfwstudy.data.summary import describe_audit, describe_data

    if options.all_images and not options.pack:
        raise ConfigError("--all-images goes with --pack DIR")
    config = DataConfig(dataset=options.dataset, crop=options.crop, side=options.side, filter=options.filter)
    for line in describe_data(config, options.data_dir):
        print(line)
    if options.audit:
        for line in describe_audit(config, options.data_dir):
            print(line)
    if options.pack:
        from lfwstudy.data.prepare import pack

        print(f"packed: {pack(config, options.data_dir, options.pack, options.all_images)}")


def run(options: Namespace) -> int:
    """`lfwstudy run`: the study or, with --dry-run, the runs it would train."""
    from lfwstudy import workflow
    from lfwstudy.study.estimate import estimate
    from lfwstudy.study.settings import Settings
    from lfwstudy.study.study import Study

    if options.protocol == "view2" and options.split:
        raise ConfigError("--split does not go with --protocol view2: its validation is the fold after the tested one")
    names = [field.name for field in dataclasses.fields(Settings)]
    study = Study(Settings(**{name: getattr(options, name) for name in names}))
    if options.dry_run:
        print("\n".join(estimate(study)))
        return 0
    return workflow.train(study) if options.no_report else workflow.run(study)


def report(options: Namespace) -> int:
    """`lfwstudy report`: execute the notebooks on the finished runs, render the HTML and, with --pdf, print it."""
    from lfwstudy import workflow
    from lfwstudy.report import pdf
    from lfwstudy.study.study import open_study

    browser = pdf.find_browser() if options.pdf else ""
    study = open_study(_out(options))[0]
    status = workflow.report(study)
    if browser:
        print(f"pdf: {pdf.write_pdf(study.out / 'report.html', browser)}")
    return status


def compare(options: Namespace) -> None:
    """`lfwstudy compare`: two runs or studies on the same test pairs."""
    from lfwstudy.report.comparison import compare as compared

    if options.to and not Path(options.to).absolute().parent.is_dir():
        raise ConfigError(f"{options.to}: its folder does not exist")
    found = compared(options.a, options.b)
    print(f"{found.table().to_text()}\n\n{found.sentence()}")
    if options.to:
        print(f"page: {found.write(options.to)}")


def export(options: Namespace) -> None:
    """`lfwstudy export`: a study's results as tidy CSV files and for TensorBoard."""
    from lfwstudy.study.export import export as exported
    from lfwstudy.study.results import Results

    print(f"exported: {exported(Results.open(_out(options)), options.to)}")


def bench(options: Namespace) -> None:
    """`lfwstudy bench`: speed and memory of this machine."""
    from lfwstudy.bench.measure import bench as measure
    from lfwstudy.system.backend import keras_backend
    from lfwstudy.system.files import write_json

    keras_backend()  # fail for a backend that cannot train before measuring anything
    if options.json and not Path(options.json).absolute().parent.is_dir():
        raise ConfigError(f"{options.json}: its folder does not exist")
    result = measure()
    if options.json:
        write_json(options.json, result)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lfwstudy",
        description="How far does a siamese convolutional network get at telling whether two face "
        "images show the same person, and what does each training choice add?",
    )
    parser.add_argument("--version", action="version", version=f"lfwstudy {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _data_command(commands)
    _run_command(commands)
    for name, call, text in (
        ("report", report, "render a study's report again"),
        ("export", export, "write a study's results as tidy CSV files and its histories for TensorBoard"),
    ):
        command = _command(commands, name, call, text)
        command.add_argument("--out", default="", metavar="DIR", help="the study's folder (default: runs/demo-quick)")
        if call is report:
            text = "also write report.pdf, printed by Chromium, Chrome or Edge"
            command.add_argument("--pdf", action="store_true", help=text)
    command.add_argument("--to", required=True, metavar="FOLDER", help="a new or empty folder, or an earlier export")
    _compare_command(commands)
    text = "same person? score two photos, or many pairs, with the best network"
    verify.add_verify_options(_command(commands, "verify", verify.verify, text))
    text = "write the embeddings of a folder's photos to a file"
    verify.add_embed_options(_command(commands, "embed", verify.embed, text))
    text = "measure speed and memory of this machine; takes at most three minutes and about 8 GB"
    command = _command(commands, "bench", bench, text)
    command.add_argument("--json", default="", metavar="FILE", help="also write the measurements to a file")
    return parser


def _data_command(commands: Commands) -> None:
    command = _command(commands, "data", data, "find or download the images, verify, count and prepare them")
    _data_options(command)
    command.add_argument(
        "--audit", action="store_true", help="count what training and validation share under each split"
    )
    command.add_argument(
        "--pack",
        default="",
        metavar="DIR",
        help="write the pair files, and the images listed in View 1's as a bank file, to DIR: a --data-dir for another "
        "machine; repeat for each crop, side and filter that the stages use",
    )
    command.add_argument(
        "--all-images",
        action="store_true",
        help="with --pack: all images, for stages that train on all people and for View 2",
    )
    command.add_argument("--crop", type=int, default=250, metavar="N", help="central square kept, in pixels of 250")
    command.add_argument("--side", type=int, default=105, metavar="N", help="side in pixels of the resized square")
    command.add_argument(
        "--filter",
        default="bilinear",
        choices=FILTERS,
        help="resize filter; all but nearest average over the pixels they merge",
    )


def _run_command(commands: Commands) -> None:
    command = _command(commands, "run", run, "run the study, or resume it")
    _data_options(command)
    add = command.add_argument
    add(
        "--profile",
        default="quick",
        metavar="NAME",
        help="quick (minutes, narrow network), cpu (a night on 2 cores) or report (the report's hyperparameters)",
    )
    add(
        "--ladder",
        default="report",
        metavar="NAME",
        help="which ladder of stages: report (as the report describes itself), published (what its code did) or beyond "
        "(other networks, trained in other ways)",
    )
    add(
        "--stages",
        default="",
        metavar="A,B,..",
        help="stages to add to this study (default: those of --stages-file and --set, else all of the ladder)",
    )
    add("--stages-file", default="", metavar="FILE.toml", help="add stages of your own to this study, which keeps them")
    add(
        "--set",
        dest="set_options",
        action="append",
        default=[],
        metavar="SECTION.FIELD=VALUE",
        help="add a variant with this setting to this study's stage `own`; repeat for a variant with several",
    )
    add("--seeds", type=int, default=1, metavar="N", help="runs per variant, seeds 0 to N-1")
    add(
        "--split",
        default="",
        choices=SPLITS,
        help="how validation is split off (default: components, person-disjoint, no pair lost; for the ladder published "
        "sequential, as its code did)",
    )
    add("--protocol", default="view1", choices=PROTOCOLS, help="LFW's View 1 (development) or View 2 (ten folds)")
    add(
        "--select",
        default="",
        choices=("validation", "report"),
        help="carry the best variant on validation forward (default), or follow the report's choices (default for the "
        "ladder published)",
    )
    add("--precision", default="auto", choices=("auto", *PRECISIONS), help="of the convolutions; kept in study.json")
    add("--keep", default="best", choices=("best", "all", "none"), help="which weights to keep when the study ends")
    add(
        "--no-test",
        dest="test",
        action="store_false",
        help="do not score the test pairs (a later command without it adds them)",
    )
    add(
        "--no-report",
        action="store_true",
        help="train only; needs no notebook packages. A later command without it makes the notebooks and the report",
    )
    add("--dry-run", action="store_true", help="print runs, time and disk needed; train nothing")
    add(
        "--cluster",
        default="",
        metavar="ADDRESS",
        help="train on many machines: a Dask scheduler, tcp://HOST:PORT, or local:N for N workers here",
    )
    add("--out", default="", metavar="DIR", help="the study's folder (default: runs/<dataset>-<profile>)")


def _compare_command(commands: Commands) -> None:
    command = _command(commands, "compare", compare, "compare two runs or studies on the same test pairs")
    for name in "ab":
        command.add_argument(
            name, metavar=name.upper(), help="a run (runs/ID in a study's folder), or a study: its best configuration"
        )
    command.add_argument("--to", default="", metavar="FILE.html", help="also write a page with the learning curves")


def _data_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--dataset",
        default="demo",
        metavar="NAME",
        help="demo (drawn faces), lfw, lfw-funneled, lfw-deepfunneled, lfw-a, or folder: own people, a folder of images each",
    )
    command.add_argument(
        "--data-dir",
        default="",
        metavar="DIR",
        help="folder with your copy: archive, unpacked folder or bank file, or with your own people (default: $LFWSTUDY_DATA)",
    )


def _out(options: Namespace) -> Path:
    """The folder of a finished study: `--out`, or its default."""
    from lfwstudy.study.settings import default_root

    return Path(options.out) if options.out else default_root() / "runs" / "demo-quick"


def _command(
    commands: Commands, name: str, call: Callable[[Namespace], int | None], text: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=EXAMPLES.get(name),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(call=call)
    return command


def _cache_hint(error: OSError) -> str:
    """Advice if an OSError is about the data cache."""
    from lfwstudy.data.cache import cache_folder

    folder = cache_folder()
    of_cache = isinstance(error.filename, str) and (
        Path(error.filename) == folder
        or folder in Path(error.filename).parents
        or Path(error.filename) in folder.parents
    )
    return f"; {folder} is the data cache: set LFWSTUDY_CACHE to a writable folder" if of_cache else ""
