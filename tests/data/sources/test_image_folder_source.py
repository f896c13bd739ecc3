import os
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from edgekd import data
from edgekd.data import buffers, images
from edgekd.data.sources import image_folder
from edgekd.errors import DataError, RecipeError


def load(folder, **options):
    return image_folder.load(str(folder), **options)


def test_class_folders_are_read_in_alphabetical_order(class_folders):
    folder, pixels = class_folders
    loaded = load(folder)
    np.testing.assert_array_equal(loaded.train.images, pixels)
    assert loaded.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert loaded.class_names == ("cat", "dog")
    assert loaded.name == "image_folder:pets"
    assert loaded.test is None


@pytest.mark.parametrize("validation", ["val", "validation"])
def test_split_folders_are_read(tmp_path, save_image, validation):
    pixels = {}
    for seed, part in enumerate(("train", "test", validation)):
        for name in ("a", "b"):
            pixels[part, name] = save_image(tmp_path / part / name / "1.png", seed=2 * seed + ord(name))
    loaded = load(tmp_path)
    np.testing.assert_array_equal(loaded.train.images, [pixels["train", "a"], pixels["train", "b"]])
    np.testing.assert_array_equal(loaded.test.images, [pixels["test", "a"], pixels["test", "b"]])
    np.testing.assert_array_equal(loaded.validation.images, [pixels[validation, "a"], pixels[validation, "b"]])


def test_grey_images_have_one_channel(tmp_path, save_image):
    pixels = [save_image(tmp_path / name / "1.png", seed=ord(name), mode="L") for name in "ab"]
    np.testing.assert_array_equal(load(tmp_path).train.images, np.stack(pixels)[..., np.newaxis])


def test_jpeg_and_upper_case_names_are_read(tmp_path, save_image):
    save_image(tmp_path / "a" / "1.JPG", quality=90)
    save_image(tmp_path / "b" / "1.jpeg", seed=1, quality=90)
    with Image.open(tmp_path / "b" / "1.jpeg") as image:
        expected = np.asarray(image)
    np.testing.assert_array_equal(load(tmp_path).train.images[1], expected)


def test_hidden_files_and_system_litter_are_left_out(class_folders):
    folder, pixels = class_folders
    (folder / "cat" / ".DS_Store").write_bytes(b"x")
    (folder / "cat" / "Thumbs.db").write_bytes(b"x")
    (folder / ".git").mkdir()
    assert len(load(folder).train) == len(pixels)


def test_many_images_keep_their_order_across_threads(tmp_path, save_image):
    pixels = [save_image(tmp_path / name / f"{number:03}.png", seed=number, size=(2, 2))
              for name in "ab" for number in range(150)]  # fmt: skip
    np.testing.assert_array_equal(load(tmp_path).train.images, np.stack(pixels))


def test_images_are_resized_and_converted_when_asked(tmp_path, save_image):
    save_image(tmp_path / "a" / "1.png", size=(8, 4))
    save_image(tmp_path / "b" / "1.png", size=(6, 5), mode="L")
    save_image(tmp_path / "b" / "2.png", size=(6, 5), mode="RGBA")
    assert load(tmp_path, image_size=3, channels=3).train.images.shape == (3, 3, 3, 3)
    assert load(tmp_path, image_size=[2, 5], channels=1).train.images.shape == (3, 2, 5, 1)
    assert load(tmp_path, image_size=2, channels=4).train.images.shape == (3, 2, 2, 4)


def test_halving_a_chequered_image_averages_its_pixels(tmp_path):
    # Anti-aliased: a board of single black and white pixels becomes grey, not black or white.
    board = (np.indices((16, 16)).sum(axis=0) % 2 * 255).astype(np.uint8)
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.fromarray(board).save(tmp_path / name / "1.png")
    shrunk = load(tmp_path, image_size=8).train.images[:, 1:-1, 1:-1]
    assert np.abs(shrunk.astype(int) - 128).max() <= 2


def test_large_folders_are_decoded_into_an_unlinked_file(class_folders, monkeypatch):
    folder, pixels = class_folders
    monkeypatch.setattr(buffers, "IN_MEMORY_BYTES", 100)
    split = load(folder).train
    assert isinstance(split.images, np.memmap)
    np.testing.assert_array_equal(split.read(np.array([4, 1]))[0], pixels[[4, 1]] / np.float32(255))


def test_decoding_into_a_file_holds_few_images_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(buffers, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(24):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / name / f"{number:02}.png")
    tracemalloc.start()
    try:
        loaded = load(tmp_path, image_size=1000)  # 48 images of 3 MB
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert loaded.train.images.nbytes == 48 * 3_000_000
    assert peak < 100e6  # four tasks of 16 MiB ahead, one image that each thread decodes, and a copy of one task


def png_of(width, height):
    """A PNG file that claims a size and holds one byte of pixels."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8200, 9600, 20_000, 2_000_000])
def test_an_image_that_claims_too_many_pixels_is_refused_before_it_is_decoded(class_folders, side):
    folder, _ = class_folders
    (folder / "dog" / "9.png").write_bytes(png_of(side, side))
    with pytest.raises(DataError, match=r"9\.png' claims .*: expected at most 67108864"):
        load(folder)


@pytest.mark.parametrize("position", [0, 5], ids=["first", "last"])
@pytest.mark.parametrize("keep", [0, 4, 60, -30])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_truncated_image_is_refused_and_named(tmp_path, save_image, position, keep, suffix):
    for number in range(6):
        save_image(tmp_path / f"class{number // 3}" / f"{number}.{suffix}", seed=number, size=(40, 40))
    path = tmp_path / f"class{position // 3}" / f"{position}.{suffix}"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=rf"{position}\.{suffix}' is not a (readable )?PNG or JPEG image"):
        load(tmp_path)


def test_another_format_behind_a_png_name_is_refused(class_folders):
    folder, _ = class_folders
    Image.new("RGB", (5, 6)).save(folder / "dog" / "9.png", format="BMP")
    with pytest.raises(DataError, match=r"9\.png' is not a PNG or JPEG image"):
        load(folder)


def test_a_png_with_damaged_pixels_is_refused(class_folders):
    folder, _ = class_folders
    content = bytearray((folder / "dog" / "1.png").read_bytes())
    content[60] ^= 0xFF
    (folder / "dog" / "1.png").write_bytes(content)
    with pytest.raises(DataError, match=r"1\.png' is not a readable PNG or JPEG image"):
        load(folder)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            Image.new("RGB", (6, 6)),
            r"x\.png' is 6x6 pixels with 3 channels and .*0\.png' is 6x5 pixels with 3 channels: expected one size\. "
            r"Convert them all with --set data\.image_size=PIXELS, or --set image_size=PIXELS for data show",
        ),
        (
            Image.new("L", (5, 6)),
            r"x\.png' is 6x5 pixels with 1 channel and .*one number of channels\. .*all with --set data\.channels=3,",
        ),
        (Image.new("L", (7, 6)), r"one size and one number.* --set data\.image_size=PIXELS --set data\.channels=3,"),
        (Image.new("RGBA", (5, 6)), r"x\.png' has transparency \(mode RGBA\): give channels 3"),
        (Image.new("I;16", (5, 6)), "more than 8 bits per channel"),
    ],
    ids=["size", "grey", "both", "transparent", "16 bits"],
)
def test_mixed_sizes_and_modes_are_refused_with_both_named(class_folders, image, message):
    folder, _ = class_folders
    image.save(folder / "dog" / "x.png")
    with pytest.raises(DataError, match=message):
        load(folder)


@pytest.mark.parametrize("channels", [None, 1, 3, 4])
def test_16_bit_images_are_refused_also_when_they_are_converted(tmp_path, channels):
    # Pillow's conversion would clip: 300 and 40,000 would both become 255.
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((6, 5), 300, np.uint16)).save(tmp_path / name / "1.png")
    with pytest.raises(DataError, match=r"more than 8 bits per channel \(mode I;16\): convert it to 8 bits"):
        load(tmp_path, channels=channels)


def test_palette_images_become_colour(class_folders):
    folder, _ = class_folders
    red = Image.new("P", (5, 6))
    red.putpalette([255, 0, 0])
    red.save(folder / "dog" / "x.png")
    assert load(folder).train.images[-1, 0, 0].tolist() == [255, 0, 0]


def test_folders_that_are_no_dataset_are_refused(tmp_path, class_folders, save_image):
    folder, _ = class_folders
    with pytest.raises(DataError, match="image folder 'nowhere' does not exist"):
        load("nowhere")
    with pytest.raises(DataError, match="has no folders: expected one folder per class"):
        load(folder / "cat")
    (folder / "owl").mkdir()
    with pytest.raises(DataError, match="owl' is empty: expected at least one"):
        load(folder)
    (folder / "owl" / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"notes\.txt' is not a PNG or JPEG file"):
        load(folder)


@pytest.mark.parametrize("place", [".", "train", "test"])
def test_an_image_beside_the_class_folders_is_not_left_out_silently(tmp_path, save_image, place):
    root = tmp_path if place == "." else tmp_path / place
    for part in ("train", "test") if place != "." else (".",):
        for name in "ab":
            save_image(tmp_path / part / name / "1.png")
    (root / "README.txt").write_text("about the images")
    assert len(load(tmp_path).train) == 2
    save_image(root / "stray.JPG")
    with pytest.raises(DataError, match=r"stray\.JPG' stands beside the class folders: move it into the folder"):
        load(tmp_path)


def test_images_without_class_folders_are_read_when_asked(tmp_path, save_image):
    pixels = [save_image(tmp_path / f"{number}.png", seed=number) for number in range(3)]
    (tmp_path / ".hidden").write_text("x")
    loaded = load(tmp_path, labelled=False)
    np.testing.assert_array_equal(loaded.train.images, np.stack(pixels))
    assert loaded.train.labels.tolist() == [-1] * 3
    assert (loaded.test, loaded.validation, loaded.class_names) == (None, None, ())


def test_without_labels_images_in_folders_of_any_name_are_read_after_those_beside_them(class_folders, save_image):
    folder, pixels = class_folders
    first = save_image(folder / "zebra.png", seed=70)
    loaded = load(folder, labelled=False)
    np.testing.assert_array_equal(loaded.train.images, np.concatenate([first[np.newaxis], pixels]))
    assert loaded.train.labels.tolist() == [-1] * 7


def test_without_labels_only_the_training_folder_is_read_where_there_is_one(tmp_path, save_image):
    wanted = [save_image(tmp_path / "train" / f"{number}.png", seed=number) for number in range(2)]
    save_image(tmp_path / "test" / "a" / "1.png", seed=9)
    np.testing.assert_array_equal(load(tmp_path, labelled=False).train.images, np.stack(wanted))


def test_without_labels_nothing_is_left_out_silently_either(tmp_path, save_image):
    save_image(tmp_path / "1.png")
    (tmp_path / "2.webp").write_bytes(b"x")
    with pytest.raises(DataError, match=r"2\.webp' is not a PNG or JPEG file"):
        load(tmp_path, labelled=False)
    (tmp_path / "2.webp").unlink()
    (tmp_path / "1.png").unlink()
    with pytest.raises(DataError, match="is empty: expected at least one"):
        load(tmp_path, labelled=False)


def test_class_folders_are_asked_for_by_naming_the_way_without(tmp_path, save_image):
    save_image(tmp_path / "1.png")
    with pytest.raises(DataError, match=r"has no folders: expected one folder per class .* labelled=false"):
        load(tmp_path)


def test_one_class_only_is_refused(tmp_path, save_image):
    for number in range(9):
        save_image(tmp_path / "cat" / f"{number}.png", seed=number)
    with pytest.raises(DataError, match="expected at least two classes"):
        data.load(f"image_folder:{tmp_path}")


def test_split_folders_that_do_not_agree_are_refused(tmp_path, save_image):
    for name in "ab":
        save_image(tmp_path / "train" / name / "1.png")
    save_image(tmp_path / "test" / "a" / "1.png")
    with pytest.raises(DataError, match="test/b' does not exist: expected a folder for every class"):
        load(tmp_path)
    save_image(tmp_path / "test" / "b" / "1.png")
    save_image(tmp_path / "test" / "c" / "1.png")
    with pytest.raises(DataError, match="has class c, which training lacks: its classes are a, b"):
        load(tmp_path)
    (tmp_path / "extra").mkdir()
    with pytest.raises(DataError, match="has train beside extra"):
        load(tmp_path)
    (tmp_path / "extra").rename(tmp_path / "val")
    (tmp_path / "validation").mkdir()
    with pytest.raises(DataError, match="both val and validation"):
        load(tmp_path)


@pytest.mark.parametrize("value", [0, -1, "big", 3.5, [1, 2, 3], [4], [4, "x"], True])
def test_an_image_size_that_is_none_is_refused(value):
    with pytest.raises(RecipeError, match="image_size is"):
        images.size_option(value)


@pytest.mark.parametrize("value", [0, 2, "rgb", True])
def test_a_number_of_channels_that_no_image_has_is_refused(value):
    with pytest.raises(RecipeError, match="channels is"):
        images.channels_option(value)
