import hashlib
import http.server
import socket
import threading
import types

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def no_network(monkeypatch):
    """Makes any attempt to reach another machine fail the test."""

    def refuse(*_):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def save_image():
    """Saves a random image, the same one for the same seed, and returns its pixels."""

    def save(path, *, seed=0, size=(6, 5), mode="RGB", **options):
        channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
        pixels = np.random.default_rng(seed).integers(0, 256, (*size, *channels)).astype(np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, **options)
        return pixels

    return save


@pytest.fixture
def class_folders(tmp_path, save_image):
    """A folder with three PNG images of each of two classes; returns it and the pixels in the order of reading."""
    folder = tmp_path / "pets"
    pixels = [
        save_image(folder / name / f"{number}.png", seed=position)
        for position, (name, number) in enumerate((name, number) for name in ("cat", "dog") for number in range(3))
    ]
    return folder, np.stack(pixels)


@pytest.fixture(scope="session")
def tiny_files():
    """The published files of the dataset `tiny_shapes` by name: 30 grey images of 4x5 pixels and their labels."""
    pixels = np.random.default_rng(0).integers(0, 256, (30, 4, 5, 1)).astype(np.uint8)
    return {"shapes-images.bin": pixels.tobytes(), "shapes-labels.bin": (np.arange(30) % 3).astype(np.uint8).tobytes()}


@pytest.fixture(scope="session")
def file_server():
    """A server on this machine that has no files until a test puts some into `files`."""
    files = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            content = files.get(self.path.rpartition("/")[2])
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield types.SimpleNamespace(address=f"http://127.0.0.1:{server.server_port}/", files=files)
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def tiny_builders(tiny_files, file_server):
    """Registers small datasets with TFDS.

    `tiny_shapes` is made of `tiny_files`, `tiny_unverified` of a file without a registered checksum, `tiny_by_hand` of
    a file that users must fetch themselves, `tiny_photos` holds images of several sizes and one more feature, and
    `tiny_numbers` holds no images.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download.checksums import UrlInfo

    address = file_server.address
    image, label = tfds.features.Image(shape=(4, 5, 1)), tfds.features.ClassLabel(names=["round", "flat", "long"])

    class Tiny(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")
        url_infos = None
        features = {"image": image, "label": label}  # noqa: RUF012 - TFDS's way
        keys = ("image", "label")

        def _info(self):
            features = tfds.features.FeaturesDict(self.features)
            return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=self.keys)

        def _generate_examples(self, examples):
            yield from enumerate(examples)

    class TinyShapes(Tiny):
        keys = None
        url_infos = {  # noqa: RUF012
            address + name: UrlInfo(len(content), hashlib.sha256(content).hexdigest(), name)
            for name, content in tiny_files.items()
        }

        def _split_generators(self, dl_manager):
            paths = dl_manager.download({name: address + name for name in tiny_files})
            pixels, labels = (np.frombuffer(paths[name].read_bytes(), np.uint8) for name in tiny_files)
            images = pixels.reshape(-1, 4, 5, 1)
            examples = [{"image": images[i], "label": int(labels[i])} for i in range(len(labels))]
            return {
                "train": self._generate_examples(examples[:20]),
                "validation": self._generate_examples(examples[20:24]),
                "test": self._generate_examples(examples[24:]),
            }

    class TinyUnverified(Tiny):
        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(dl_manager.download(address + "unverified.bin"))}

    class TinyByHand(Tiny):
        MANUAL_DOWNLOAD_INSTRUCTIONS = "Fetch by-hand.bin and accept its terms."

        def _split_generators(self, dl_manager):
            pixels = np.frombuffer((dl_manager.manual_dir / "by-hand.bin").read_bytes(), np.uint8).reshape(-1, 4, 5, 1)
            return {"train": self._generate_examples({"image": image, "label": 1} for image in pixels)}

    class TinyPhotos(Tiny):
        features = {  # noqa: RUF012
            "photo": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "thumbnail": tfds.features.Image(shape=(None, None, 1)),
            "kind": label,
        }
        keys = ("photo", "kind")

        def _split_generators(self, dl_manager):
            del dl_manager
            draw = np.random.default_rng(0).integers
            examples = [
                {
                    "photo": draw(0, 256, (8 + i, 9, 3)).astype(np.uint8),
                    "thumbnail": draw(0, 256, (2 + i, 2, 1)).astype(np.uint8),
                    "kind": i % 3,
                }
                for i in range(12)
            ]
            return {"train": self._generate_examples(examples)}

    class TinyNumbers(Tiny):
        features = {"numbers": tfds.features.Tensor(shape=(4,), dtype=np.float32), "label": label}  # noqa: RUF012
        keys = ("numbers", "label")

        def _split_generators(self, dl_manager):
            raise NotImplementedError


@pytest.fixture(scope="session")
def prepared_tiny(tmp_path_factory, tiny_builders, tiny_files):
    """A TFDS data folder in which tiny_shapes and tiny_photos are prepared."""
    import tensorflow_datasets as tfds

    from edgekd.data.tfds_import import import_dataset

    source, data_dir = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("prepared")
    for name, content in tiny_files.items():
        (source / name).write_bytes(content)
    import_dataset("tiny_shapes", source=source, data_dir=data_dir)
    tfds.builder("tiny_photos", data_dir=data_dir).download_and_prepare()
    return data_dir
