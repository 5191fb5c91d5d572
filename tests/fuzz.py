"""Coverage-guided fuzzing of one reader: `python tests/fuzz.py READER [options of libFuzzer]`."""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["lfwstudy", "tarfile", "zipfile", "csv", "json"]):
    import test_fuzz


def main(name, *options):
    """Fuzz a reader of test_fuzz.READERS, from its valid content on, until an error that is not the library's own."""
    with tempfile.TemporaryDirectory() as corpus:
        (Path(corpus) / "valid").write_bytes(test_fuzz.READERS[name][0])
        atheris.Setup([sys.argv[0], *options, corpus], lambda content: test_fuzz.read(name, content))
        atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
