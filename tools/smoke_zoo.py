"""Runs the smoke form of every recipe of the zoo, on a few embedded images, in one process.

    python tools/smoke_zoo.py
    python tools/smoke_zoo.py tutorials/resnet32/logits fashion_mnist/resnet8

It shows that each recipe gets through all of its stages: networks, taps, losses, adapters, quantisation, files, and
whether the int8 file is the network. Other files are left out: the tests smoke `quickstart`, which has them all.
Nothing is measured, and of so few images accuracies mean nothing. The exit status is 1 where a recipe fails.
"""

import argparse
import logging
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from edgekd import pipeline, recipe
from edgekd.errors import EdgekdError
from edgekd.recipe import Recipe
from edgekd.runtime.native_output import import_quietly

# Of all that a run does, making graphs and files is what a recipe can break; images only cost time.
_FEW = (
    "data={dataset: embedded}",
    "data.train_limit=64",
    "data.validation_limit=32",
    "data.test_limit=32",
    "data.batch_size=32",
    "calibration.samples=16",
    "export=[{format: tflite, scheme: int8}]",
    "bench.targets=[]",
    "verify.max_accuracy_drop=1.0",
    "verify.min_agreement=0.0",
)


def shortest(name: str) -> Recipe:
    """Returns a recipe's smoke form on a few embedded images, with the gates on accuracy open and those on files kept.

    Raises:
      RecipeError: there is no such recipe, or it is not accepted.
    """
    short = recipe.smoke(recipe.load(name, overrides=_FEW[:1]))
    return recipe.from_document(short.model_dump(mode="json"), overrides=_FEW, origin=name)


def smoked(name: str, folder: Path) -> str | None:
    """Returns what is wrong with a recipe, None where its smoke form gets through.

    Whatever a recipe ends in is told, so that the others are still tried; of a mistake in the code the traceback goes
    to the standard error.
    """
    try:
        result = pipeline.run(shortest(name), out=folder)
    except EdgekdError as error:
        return str(error)
    except Exception as error:
        traceback.print_exc()
        return " ".join("".join(traceback.format_exception_only(error)).split())
    failed = [f"{gate.name} of {gate.subject}" for gate in result.summary.gates if not gate.passed]
    return f"gates failed: {', '.join(failed)}" if failed else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Smokes the recipes, prints a line for each, and returns 1 where one failed."""
    parser = argparse.ArgumentParser(description="Runs the smoke form of recipes of the zoo on a few embedded images.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="recipes of the zoo (default: all)")
    names = parser.parse_args(arguments).names or list(recipe.zoo())
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported
    import_quietly("keras")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of many networks in one process
    wrong = 0
    for name in names:
        begun = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            problem = smoked(name, Path(folder) / "run")
        wrong += problem is not None
        sys.stdout.write(f"{name}: {problem or 'ok'}, {time.process_time() - begun:.0f} s of processor time\n")
        sys.stdout.flush()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
