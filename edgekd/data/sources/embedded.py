"""Fashion-MNIST in small: 12,000 training, 2,000 validation and 2,000 test images that are part of the package.

`tools/make_embedded_dataset.py` makes the file from the official ones, stratified by class. Validation images come
from the official training file and test images from the official test file, so results on it may be compared with
each other and only roughly with results on the whole of Fashion-MNIST.

References:
  Xiao, Rasul, Vollgraf, Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms, 2017
  (arXiv:1708.07747); MIT licence, see FASHION_MNIST_LICENSE.txt beside the file.
"""

from pathlib import Path

from edgekd.data.arrays import loaded_from_arrays, read_npz
from edgekd.data.dataset import Loaded

LOCATION = None
FILE_NAME = "fashion_mnist_embedded.npz"


def load(location: str) -> Loaded:
    """Returns the embedded subset: 28x28 grey images of ten classes.

    Args:
      location: not used: the file is part of the package.
    """
    del location
    path = Path(__file__).parents[1] / FILE_NAME
    return loaded_from_arrays(read_npz(path), name="embedded", what=str(path))
