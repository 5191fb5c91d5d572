"""The `lfwstudy` command: arguments in, one call out."""

import argparse
import dataclasses
import inspect
import os
import sys
import textwrap
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from lfwstudy import __version__
from lfwstudy.config import FILTERS, PRECISIONS, PROTOCOLS, SPLITS, DataConfig
from lfwstudy.errors import ConfigError, StudyError, missing, one_line, require
from lfwstudy.system.text import wrapped
from lfwstudy.verify import command as verify

Commands = Any  # argparse does not name the type of its subparsers
_OUT = "the study's folder (default: runs/demo-quick)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status: 0 done, 1 something failed, 2 wrong use or bad input, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal may lack characters of a path
    options = _parser().parse_args(arguments)
    try:
        return options.call(options) or 0
    except StudyError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "lfwstudy"):
            raise
        print(f"error: {missing(package)}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # a full disk, a folder that is not writable
        print(f"error: {one_line(error)}{_cache_hint(error)}", file=sys.stderr)
    except MemoryError as error:
        print(f"error: out of memory: {one_line(error)}", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"\ninterrupted{'; the same command resumes' if options.call is run else ''}", file=sys.stderr)
        return 130
    return 1


def data(options: Namespace) -> None:
    """Find or download the images, verify, count and prepare them.

    examples:
      lfwstudy data
          draw the demo faces and count them
      lfwstudy data --dataset lfw-deepfunneled --data-dir ~/lfw
          find, decode and count your own copy
      lfwstudy data --dataset lfw --audit
          download LFW; what do the splits share?
      lfwstudy data --dataset lfw-deepfunneled --data-dir ~/lfw --pack lfw-small
          only the images listed in the pair files, for another machine
      lfwstudy data --dataset folder --data-dir people --audit
          people of your own: people/PERSON/any-name.jpg
    """
    from lfwstudy.data.summary import describe_audit, describe_data

    if options.all_images and not options.pack:
        raise ConfigError("--all-images needs --pack DIR")
    config = DataConfig(dataset=options.dataset, crop=options.crop, side=options.side, filter=options.filter)
    _say(*describe_data(config, options.data_dir))
    if options.audit:
        _say(*describe_audit(config, options.data_dir))
    if options.pack:
        from lfwstudy.data.prepare import pack

        print(f"packed: {pack(config, options.data_dir, options.pack, options.all_images)}")


def run(options: Namespace) -> int:
    """Run the study, or resume it.

    examples:
      lfwstudy run
          the whole report ladder on demo faces, in minutes
      lfwstudy run --dataset lfw-deepfunneled --data-dir ~/lfw --dry-run
          what would be trained, how long, how much disk
      lfwstudy run --stages base,batchnorm --out runs/two
          some stages; later the same --out with others
      lfwstudy run --set training.learning_rate=1e-4
          one setting on top of what is carried forward
      lfwstudy run --stages-file my.toml
          stages of your own (docs/adding-a-stage.md)

    Interrupt it whenever you like: the same command resumes.
    """
    from lfwstudy import workflow
    from lfwstudy.report import PACKAGES
    from lfwstudy.study.estimate import estimate
    from lfwstudy.study.settings import Settings
    from lfwstudy.study.study import Study

    if len(options.stages) > 1:
        raise ConfigError(f"--stages takes one list, separated by commas: --stages {','.join(options.stages)}")
    options.stages = "".join(options.stages)
    if not (options.no_report or options.dry_run):
        require(*PACKAGES, otherwise=", or train only, with --no-report")
    try:
        settings = Settings(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Settings)})
        _check_out(settings.folder())
        study = Study(settings)
    except ConfigError:
        _check_ladder(options.stages.split(","), options.ladder)
        raise
    if options.dry_run:
        _say(*estimate(study, not options.no_report))
        return 0
    return workflow.run(study, with_report=not options.no_report)


def report(options: Namespace) -> int:
    """Render a study's report again.

    examples:
      lfwstudy report --out runs/demo-quick
      lfwstudy report --out runs/demo-quick --pdf
          report.pdf next to report.html: bookmarks, numbered pages
    """
    from lfwstudy import workflow
    from lfwstudy.report import PACKAGES, pdf
    from lfwstudy.study.study import open_study

    require(*PACKAGES)
    browser = pdf.find_browser() if options.pdf else ""
    study = open_study(_out(options))[0]
    status = workflow.report(study)
    if browser:
        print(f"pdf: {pdf.write_pdf(study.out / 'report.html', browser)}")
    return status


def compare(options: Namespace) -> None:
    """Compare two runs or studies on the same test pairs.

    examples:
      lfwstudy compare runs/lfw runs/lfw-wider
          the best configurations of two studies, all their seeds
      lfwstudy compare runs/lfw/runs/0ae99af808d2882b runs/lfw --to page.html
          a run against its study's best, as a page with curves
    """
    from lfwstudy.report.comparison import compare as compared
    from lfwstudy.system.files import check_target

    if options.to:
        check_target(options.to)
    found = compared(options.a, options.b)
    _say(found.table().to_text(), "", found.sentence())
    if options.to:
        print(f"page: {found.write(options.to)}")


def export(options: Namespace) -> None:
    """Write a study's results as tidy CSV files and its histories for TensorBoard.

    examples:
      lfwstudy export --to exported
          results.csv, histories.csv, predictions.csv, tensorboard/
      lfwstudy export --out runs/lfw --to exported
          then: tensorboard --logdir exported/tensorboard
    """
    from lfwstudy.study.export import export as exported
    from lfwstudy.study.results import Results

    print(f"exported: {exported(Results.open(_out(options)), options.to)}")


def bench(options: Namespace) -> None:
    """Measure this machine's speed and memory, in at most three minutes and about 8 GB of memory."""
    from lfwstudy.bench.measure import bench as measure
    from lfwstudy.system.backend import require_backend
    from lfwstudy.system.files import check_target, write_json

    require_backend()  # before measuring anything
    if options.json:
        check_target(options.json)
    result = measure()
    if options.json:
        write_json(options.json, result)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="lfwstudy",
        description="How far does a siamese convolutional network get at telling whether two face "
        "images show the same person, and what does each training choice add?",
    )
    parser.add_argument("--version", action="version", version=f"lfwstudy {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _data_options(_command(commands, data))
    _run_options(_command(commands, run))
    add = _command(commands, report).add_argument
    add("--out", default="", metavar="DIR", help=_OUT)
    add("--pdf", action="store_true", help="also write report.pdf, printed by Chromium, Chrome or Edge")
    add = _command(commands, export).add_argument
    add("--out", default="", metavar="DIR", help=_OUT)
    add("--to", required=True, metavar="FOLDER", help="a new or empty folder, or an earlier export")
    add = _command(commands, compare).add_argument
    for name in "ab":
        add(name, metavar=name.upper(), help="a run (runs/ID in a study's folder), or a study: its best configuration")
    add("--to", default="", metavar="FILE.html", help="also write a page with the learning curves")
    verify.add_verify_options(_command(commands, verify.verify))
    verify.add_embed_options(_command(commands, verify.embed))
    add = _command(commands, bench).add_argument
    add("--json", default="", metavar="FILE", help="also write the measurements to a file")
    return parser


class _Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong; the usage of some commands fills half a screen."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {one_line(message)}; see {self.prog} --help\n")


class _Help(argparse.HelpFormatter):
    """Wraps at spaces only, since names of data sets have hyphens, and leaves indented lines, the examples, alone."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(
            line if line.startswith(" ") else textwrap.fill(line, width, break_on_hyphens=False)
            for line in text.splitlines()
        )


def _command(commands: Commands, call: Callable[[Namespace], int | None]) -> argparse.ArgumentParser:
    """A subcommand, whose name and help are those of the function it calls."""
    title, _, examples = inspect.cleandoc(call.__doc__ or "").partition("\n\n")
    command = commands.add_parser(
        call.__name__,
        help=f"{title[0].lower()}{title[1:-1]}",
        description=title,
        epilog=examples,
        formatter_class=_Help,
    )
    command.set_defaults(call=call)
    return command


def _data_options(command: argparse.ArgumentParser) -> None:
    _images_options(command)
    add = command.add_argument
    add("--audit", action="store_true", help="count what training and validation share under each split")
    text = "write View 1's pair files and the images listed in them to DIR, a --data-dir for another machine"
    add("--pack", default="", metavar="DIR", help=text + "; repeat for each crop, side and filter that the stages use")
    text = "with --pack: all images, for stages that train on all people and for View 2"
    add("--all-images", action="store_true", help=text)
    add("--crop", type=int, default=250, metavar="N", help="central square kept, in pixels of 250 (default: 250)")
    add("--side", type=int, default=105, metavar="N", help="side in pixels of the resized square (default: 105)")
    text = "resize filter (default: bilinear); all but nearest average over the pixels they merge"
    add("--filter", default="bilinear", choices=FILTERS, help=text)


def _run_options(command: argparse.ArgumentParser) -> None:
    _images_options(command)
    add = command.add_argument
    text = "quick (minutes, a narrow network; the default), cpu (a night on 2 cores) or report (the report's hyperparameters)"
    add("--profile", default="quick", metavar="NAME", help=text)
    text = "report (as the report describes itself; the default), published (what its code did) or beyond (other networks, trained in other ways)"
    add("--ladder", default="report", metavar="NAME", help=text)
    text = "stages to add to this study (default: those of --stages-file and --set, else all of the ladder)"
    add("--stages", default=[], nargs="+", metavar="A,B,..", help=text)
    text = "add stages of your own to this study, which keeps them"
    add("--stages-file", default="", metavar="FILE.toml", help=text)
    text = "add a variant with this setting to this study's stage `own`; repeat for a variant with several settings"
    add("--set", dest="set_options", action="append", default=[], metavar="SECTION.FIELD=VALUE", help=text)
    add("--seeds", type=int, default=1, metavar="N", help="runs per variant, seeds 0 to N-1 (default: 1)")
    text = "how validation is split off (default: components, person-disjoint without losing a pair; for the ladder published: sequential)"
    add("--split", default="", choices=SPLITS, help=text)
    text = "LFW's View 1 (development; the default) or View 2 (ten folds)"
    add("--protocol", default="view1", choices=PROTOCOLS, help=text)
    text = "carry forward the best variant on validation (default), or the report's choices (default for the ladder published)"
    add("--select", default="", choices=("validation", "report"), help=text)
    text = "precision of the convolutions, kept in study.json (default: auto, bfloat16 where this machine has the arithmetic)"
    add("--precision", default="auto", choices=("auto", *PRECISIONS), help=text)
    text = "which weights to keep when the study ends: the best variant's (default), those of all runs, or none"
    add("--keep", default="best", choices=("best", "all", "none"), help=text)
    text = "do not score the test pairs (a later command without it adds them)"
    add("--no-test", dest="test", action="store_false", help=text)
    text = "only train, without the notebook packages (a later command without it adds the notebooks and the report)"
    add("--no-report", action="store_true", help=text)
    add("--dry-run", action="store_true", help="print runs, time and disk needed; train nothing")
    text = "train on many machines: a Dask scheduler, tcp://HOST:PORT, or local:N for N workers here"
    add("--cluster", default="", metavar="ADDRESS", help=text)
    add("--out", default="", metavar="DIR", help="the study's folder (default: runs/<dataset>-<profile>)")


def _images_options(command: argparse.ArgumentParser) -> None:
    text = "demo (drawn faces; the default), lfw, lfw-funneled, lfw-deepfunneled, lfw-a, or folder (your own people)"
    command.add_argument("--dataset", default="demo", metavar="NAME", help=text)
    text = (
        "folder with your copy of LFW (archive, unpacked images or bank file) or, for the data set folder, with a "
        "folder of images for each person (default: $LFWSTUDY_DATA)"
    )
    command.add_argument("--data-dir", default="", metavar="DIR", help=text)


def _say(*lines: str) -> None:
    print(*(wrapped(line, sys.stdout) for line in lines), sep="\n", flush=True)


def _out(options: Namespace) -> Path:
    """The folder of a finished study: `--out`, or its default."""
    from lfwstudy.study.settings import default_root

    return Path(options.out) if options.out else default_root() / "runs" / "demo-quick"


def _check_ladder(stages: Sequence[str], ladder: str) -> None:
    """Raise ConfigError for a stage of another ladder."""
    from lfwstudy.ladder import LADDERS

    own = {name: [stage.id for stage in known.stages] for name, known in LADDERS.items()}
    for stage in (name.strip() for name in stages):
        others = [name for name in own if stage in own[name]]
        if others and ladder in own and ladder not in others:
            raise ConfigError(f"the ladder {ladder} has no stage {stage}: it is one of --ladder {others[0]}")


def _check_out(out: Path) -> None:
    """Raise ConfigError if a study cannot be written to a folder. One missing folder above it is allowed."""
    nearest = next(folder for folder in (out, *out.parents) if os.path.lexists(folder))
    if not nearest.is_dir():
        raise ConfigError(f"{nearest} is not a folder; give --out a folder, new or of an earlier study")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigError(f"{nearest} is not writable; give another --out")
    if nearest not in (out, out.parent, out.parent.parent):
        raise ConfigError(f"{out.parent} does not exist, nor the folder above it; create it or correct --out")


def _cache_hint(error: OSError) -> str:
    """Advice if an OSError is about the data cache."""
    from lfwstudy.data.cache import cache_folder

    folder, path = cache_folder(), Path(error.filename if isinstance(error.filename, str) else os.devnull)
    if path.is_relative_to(folder) or folder.is_relative_to(path):
        return f"; {folder} is the data cache: set LFWSTUDY_CACHE to a writable folder"
    return ""
