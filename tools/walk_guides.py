#!/usr/bin/env python3
"""Runs the commands that the README and the guides tell people to type, one after the other, in one process.

    .venv/bin/python tools/walk_guides.py
    .venv/bin/python tools/walk_guides.py bench report

The files that they name are made first, by a small run, and each page begins with these. What takes minutes is run in a
shorter form, told beside it; what needs a machine that is not here is told as not run. Nothing is measured: it shows
that each command gets through. The exit status is 1 where one does not, or where a rule of this script fits no command
any more.

Guides whose commands belong to files that they show are walked by tests/test_own_model.py and tests/extend.
"""

import argparse
import contextlib
import dataclasses
import io
import itertools
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO
from unittest import mock

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
GUIDES = (
    *("distillation", "export", "quantisation", "sparsity", "anomalies", "verify", "inspect", "ci", "bench"),
    *(
        "bench-targets",
        "report",
        "index",
        "zoo",
        "choose-a-loss",
        "raspberry-pi",
        "android-phone",
        "microcontroller",
        "air-gapped",
    ),
    *("workers", "training-speed", "README"),
)

# What a command would take too long for, and what is typed instead.
SHORTER: Mapping[str, str] = {
    r"^(run|quantize) (?!.*--print|.*--smoke)(quickstart|mine\.yaml|\w+/\w+)(?!\S)": r"\1 \2 --smoke",
    r"--epochs \d+": "--epochs 1",
    r"^(train|distill) ": r"\1 --set data.train_limit=512 --epochs 1 ",
    r"--minutes \d+": "--minutes 0.1",
    r"--seconds \d+": "--seconds 4",
    r"--precision 2%": "--seconds 4",
    r"(?<=--self-test)$": " --processes 5",
    r"--processes 20": "--processes 5",
    r"(?<=^bench )(?!.*(--target|--seconds|--minutes|--processes))": "--processes 2 ",
}
# What cannot be run here, and why.
NOT_HERE: Mapping[str, str] = {
    "ssh://": "needs a board",
    "adb://": "needs a phone",
    "qemu": "needs an emulator and the libraries of another processor",
    "--from downloads/": "needs files that were downloaded",
    "tfds:": "needs those files, prepared",
}
# What ends with 1, since there is something to say: floats at the file's ends are left to the CPU.
TELLING = ("export student-int8.tflite --check --target tflite-micro,ethos-u85-256",)
# What may end with 1 or 3: these judge times, on a machine that does other work, or a student that was hardly taught.
JUDGES = ("--compare", "--max-ratio", "--self-test", "verify runs/student/")


@dataclasses.dataclass(frozen=True)
class Command:
    """What a guide tells people to type.

    Attributes:
      guide: its name.
      told: as it is written, without the program.
      typed: as it is run; None where it is not.
      reason: why it is not run.
    """

    guide: str
    told: str
    typed: str | None
    reason: str | None = None


def commands(guides: Sequence[str]) -> list[Command]:
    """Returns the commands of guides, in order."""
    found = []
    for guide in guides:
        text = ((ROOT if guide == "README" else DOCS) / f"{guide}.md").read_text(encoding="utf-8")
        for block in re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL):
            lines = (line.partition(" #")[0].strip() for line in block.splitlines())
            found += [_command(guide, line.removeprefix("edgekd ")) for line in lines if line.startswith("edgekd ")]
    return found


def _command(guide: str, told: str) -> Command:
    for part, reason in NOT_HERE.items():
        if part in told:
            return Command(guide, told, None, reason)
    typed = told
    for pattern, instead in SHORTER.items():
        typed = re.sub(pattern, instead, typed)
    return Command(guide, told, typed)


def rules_without_use(found: Sequence[Command]) -> list[str]:
    """Returns which rules fit none of the commands."""
    told = [each.told for each in found]
    unused = [part for part in (*NOT_HERE, *TELLING) if not any(part in each for each in told)]
    typed = [each.typed or "" for each in found]
    unused += [judge for judge in JUDGES if not any(judge in each for each in typed)]
    return unused + [pattern for pattern in SHORTER if not any(re.search(pattern, each) for each in told)]


def prepare() -> None:
    """Makes in the current folder what the guides name.

    Raises:
      RuntimeError: the small run failed.
    """
    for seed in (0, 1):
        folder = "runs/quickstart" if seed == 0 else "runs/seed_1"
        _must("run", "quickstart", "--smoke", "--seed", str(seed), "--out", folder)
    run_folder = Path("runs/quickstart")
    shutil.copytree(run_folder, "runs/seed_0")
    for name in ("student", "mine", "model"):
        shutil.copy(run_folder / "student_distilled" / "model.keras", f"{name}.keras")
    for name in ("student", "model"):
        formats = ["--format", "tflite", "--format", "onnx"]
        for scheme in ("float32", "int8"):
            _must("export", f"{name}.keras", "--scheme", scheme, *formats, "--dataset", "embedded")
    for suffix in ("tflite", "onnx"):
        for name in ("old", "new", "model"):
            shutil.copy(f"student-float32.{suffix}", f"{name}.{suffix}")
    rng = np.random.default_rng(0)
    images, labels = rng.random((64, 28, 28, 1), np.float32), np.arange(64) % 10
    for name in ("windows.npz", "photos.npz"):
        np.savez(name, x=images, y=labels)
    import keras

    from edgekd.architectures import autoencoder

    begins = [keras.Input((28, 28, 1)), keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(8, 3, activation="relu")]
    ends = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10)]
    keras.Sequential([*begins, *ends]).save("rescaled.keras")
    autoencoder.build((640,), 2, width=16, depth=2).save("autoencoder.keras")
    sounds, kinds = rng.standard_normal((128, 640)).astype(np.float32), np.arange(64) % 2
    normal = np.zeros(64, np.int64)
    np.savez("sounds.npz", x_train=sounds[:64], y_train=normal, x_test=sounds[64:], y_test=kinds)
    trousers = rng.standard_normal((600, 784)).astype(np.float32)
    learned, tested = np.zeros(400, np.int64), np.arange(200) % 2
    np.savez("trousers.npz", x_train=trousers[:400], y_train=learned, x_test=trousers[400:], y_test=tested)
    _take_photographs(rng)


def _take_photographs(rng: np.random.Generator) -> None:
    """Makes a folder of images of two classes, which a network can tell apart."""
    for split, kind in itertools.product(("train", "test"), ("cat", "dog")):
        folder = Path("photos", split, kind)
        folder.mkdir(parents=True)
        for number in range(100):
            pixels = rng.integers(0, 128, (40, 50, 3), np.uint8) + np.uint8(127 * (kind == "dog"))
            Image.fromarray(pixels).save(folder / f"{number}.png")


def _must(*arguments: str) -> None:
    status, said = called(arguments)
    if status:
        raise RuntimeError(f"edgekd {' '.join(arguments)} ended with {status}: {said}")


def called(arguments: Sequence[str]) -> tuple[int, str]:
    """Runs the command line in this process and returns its exit status and what it printed.

    After `>` stands where its standard output goes.
    """
    from edgekd.cli import main as edgekd

    said = io.StringIO()
    with contextlib.ExitStack() as stack:
        out: IO[str] = said
        if ">" in arguments:
            *arguments, _, path = arguments
            out = stack.enter_context(Path(path).open("w", encoding="utf-8"))
        sys.argv = ["edgekd", *arguments]
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(said))
        try:
            edgekd()
        except SystemExit as ended:
            return int(ended.code or 0), said.getvalue()
    raise AssertionError("the command line ends with an exit status")


def walked(found: Sequence[Command], prepared: Path) -> Iterator[tuple[Command, str, str]]:
    """Yields each command, what came of it in a word, and what it printed; each guide begins with what is prepared."""
    guide, folder = None, prepared
    for each in found:
        if each.typed is None:
            yield each, f"not run: {each.reason}", ""
            continue
        if each.guide != guide:
            guide, folder = each.guide, prepared.with_name(each.guide)
            shutil.copytree(prepared, folder)
        with contextlib.chdir(folder):
            status, said = called(shlex.split(each.typed))
        allowed = {0, 1, 3} if any(judge in each.typed for judge in JUDGES) else {int(each.told in TELLING)}
        yield each, "ok" if status in allowed else f"ended with {status}", said


def main(arguments: Sequence[str] | None = None) -> int:
    """Walks the guides, prints a line for each command, and returns 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("guides", nargs="*", metavar="GUIDE", help="names of pages in docs/, or README (default: all)")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported
    found = commands(options.guides or GUIDES)
    failed = 0
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, {"XDG_CACHE_HOME": folder}):
        prepared = Path(folder) / "prepared"
        prepared.mkdir()
        with contextlib.chdir(prepared):
            prepare()
        for command, result, said in walked(found, prepared):
            typed = "" if command.typed in (None, command.told) else f"  as: {command.typed}"
            _print(f"{command.guide}: edgekd {command.told}  {result}{typed}")
            if result.startswith("ended"):
                failed += 1
                _print(said)
    unused = [] if options.guides else rules_without_use(found)
    _print(f"{len(found)} commands, {sum(each.typed is None for each in found)} not run here, {failed} failed")
    if unused:
        _print(f"rules that fit no command: {', '.join(unused)}")
    return 1 if failed or unused else 0


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
