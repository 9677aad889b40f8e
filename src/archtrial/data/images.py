"""A folder of images, a folder for each class."""

import collections
import contextlib
import dataclasses
import hashlib
import io
import math
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from archtrial.data import cache
from archtrial.data.content import Reading, damaged
from archtrial.data.dataset import Dataset, assemble
from archtrial.data.delimited import listing
from archtrial.data.split import TEST, TRAIN, VALIDATION
from archtrial.data.stored import Array, Stored
from archtrial.errors import DataError

__all__ = ["PARTS", "Content", "read_folder", "read_images", "read_like"]

_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
# By name, so that Pillow tries no other: an EPS that is called .png would start
# Ghostscript.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
# A picture of so many pixels is an attack, or no example.
_MOST_PIXELS = 100_000_000
# What folders, and the sets of other data, are called that are a division.
PARTS = {
    **dict.fromkeys(("train", "training", "trn", "trainset", "train_set"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev", "val_set"), VALIDATION),
    **dict.fromkeys(("test", "testing", "tst", "testset", "test_set"), TEST),
}
_GREY = ("1", "L", "LA", "La")
_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
# EXIF's orientations that exchange width and height, and the tag that holds them.
_TURNED, _ORIENTATION = (5, 6, 7, 8), 0x0112


def read_folder(path: Path, told: Reading) -> Dataset:
    """Reads a folder of images; where all of them are too large for memory, into a file.

    Raises:
        DataError: It cannot be told which folders are classes, or an image cannot be
            read.
    """
    notes: list[str] = []
    root = path
    inside = _with_images(root, notes)
    if len(inside) == 1 and not _images_in(inside[0]):
        deeper: list[str] = []
        below = _with_images(inside[0], deeper)
        if below:
            root, inside = inside[0], below
            notes += deeper
            if root.name.lower() not in PARTS:
                notes.append(f"Read from the folder {root.name} inside {path.name}.")
    parts, given = _parts(root, inside, notes)
    found: list[Path] = []
    labels: list[str] = []
    division: list[int] = []
    others = 0
    for part, folders in parts:
        for folder in folders:
            files, rest = _files_below(folder)
            others += rest
            found += files
            labels += [folder.name] * len(files)
            division += [part] * len(files)
    if not found:
        raise DataError(
            "a folder of data holds a folder of images for each class",
            f"no image in the folders of {path.name}",
            "Arrange the images as NAME/class_a/1.png, NAME/class_b/2.png, ...",
        )
    loose = len(_images_in(root))
    if loose:
        notes.append(f"Images outside the folders of classes were left out: {loose}.")
    images, remarks, mode = read_images(path.resolve().name, found, told)
    if others:
        remarks.append(f"Files that are not images were left out: {others}.")
    return assemble(
        path.resolve().name,
        images,
        np.array(labels),
        kind="image",
        task=told.task,
        known_task="classification",
        notes=(*notes, *remarks),
        given=np.array(division) if given else None,
        pixels=mode,
    )


def read_like(paths: Sequence[str | Path], mode: str, size: tuple[int, int]) -> Array:
    """Reads images as those of a folder were read.

    Args:
        paths: Of N files.
        mode: What `assemble` was told of the folder.
        size: Width and height.

    Returns:
        (N, C, H, W), uint8 or float32.

    Raises:
        DataError: One cannot be read, or is of another depth.
    """
    for path in map(Path, paths):
        if not path.is_file():
            raise DataError("images are files", f"there is no {str(path)!r}")
        with _opened(path) as image:
            deep = image.mode in _DEEP
        if deep != (mode == "F"):
            bits = "8 bits" if mode != "F" else "16 bits or fractions"
            raise DataError(
                f"images have {bits}, as those of the study", f"{path.name} has not"
            )
    return np.stack([pixels for pixels, _ in _decoded(map(Path, paths), mode, size)])


def _stray(name: str) -> bool:
    return name.startswith((".", "__MACOSX", "@eaDir", "$RECYCLE"))


def _files_below(folder: Path) -> tuple[list[Path], int]:
    """Returns the images below a folder in order, and how many other files are."""
    images, others = [], 0
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _stray(name))
        for name in names:
            if name.lower().endswith(_ENDINGS) and not name.startswith("."):
                images.append(Path(place, name))
            else:
                others += 1
    return sorted(images), others


def _images_in(folder: Path) -> list[Path]:
    return [
        child
        for child in folder.iterdir()
        if child.name.lower().endswith(_ENDINGS)
        and not child.name.startswith(".")
        and child.is_file()
    ]


def _with_images(folder: Path, notes: list[str]) -> list[Path]:
    """Returns the folders inside that hold images anywhere; the others are noted."""
    kept, empty = [], []
    for child in sorted(folder.iterdir()):
        if not child.is_dir() or child.name.startswith("."):
            continue
        if _stray(child.name) or not _files_below(child)[0]:
            empty.append(child.name)
        else:
            kept.append(child)
    if empty:
        notes.append(f"Left out, since they hold no image: {listing(empty)}.")
    return kept


def _parts(
    root: Path, inside: list[Path], notes: list[str]
) -> tuple[list[tuple[int, list[Path]]], bool]:
    """Finds the folders of the classes.

    Returns:
        For each set its folders, and whether the data come divided.

    Raises:
        DataError: Folders called train or test are no division, or it is unclear
            which folders are the classes.
    """
    if root.name.lower() in PARTS and not any(
        folder.name.lower() in PARTS for folder in inside
    ):
        return [(TRAIN, inside)], False
    named = [folder for folder in inside if folder.name.lower() in PARTS]
    if not named:
        _check_classes(root, inside)
        return [(TRAIN, inside)], False
    sets = [PARTS[folder.name.lower()] for folder in named]
    names = listing([folder.name for folder in inside])
    if len(named) < len(inside):
        raise DataError(
            "folders called train, validation and test are a division of the data, and"
            " no classes",
            f"{names} in {root.name}",
            "Put the folders of the classes inside train and test; or, if they are"
            f" classes, rename them, such as {named[0].name} to {named[0].name}_class.",
        )
    if len(set(sets)) < len(sets):
        raise DataError("a data set has one folder for each set", f"{names}")
    flat = [folder for folder in named if _images_in(folder)]
    if flat:
        raise DataError(
            "folders called train, validation and test hold a folder for each class",
            f"images lie in {listing([folder.name for folder in flat])} itself",
            "Sort them into folders such as train/class_a; or, if they are classes,"
            f" rename them, such as {flat[0].name} to {flat[0].name}_class.",
        )
    if TRAIN not in sets:
        raise DataError(
            "data that come divided have a folder train",
            f"only {names} in {root.name}",
            "Rename the folder of the training images to train, or give the path of"
            " one of these folders.",
        )
    parts = [
        (part, _with_images(folder, notes))
        for part, folder in zip(sets, named, strict=True)
    ]
    known = {f.name for part, folders in parts if part == TRAIN for f in folders}
    strange = {f.name for _, folders in parts for f in folders} - known
    if strange:
        raise DataError(
            "every class has training images",
            f"{listing(sorted(strange))} only outside {named[sets.index(TRAIN)].name}",
            "Add the folder to train, or remove it from the others.",
        )
    return parts, len(sets) > 1


def _check_classes(root: Path, inside: list[Path]) -> None:
    """Refuses folders that all hold the same folders: these may be the classes."""
    if len(inside) < 2 or any(_images_in(folder) for folder in inside):
        return
    below = [
        {child.name for child in folder.iterdir() if child.is_dir()}
        for folder in inside
    ]
    shared = set.intersection(*below)
    if len(shared) > 1:
        raise DataError(
            "the folders of images are the classes",
            f"{listing([f.name for f in inside])} in {root.name} all hold the folders"
            f" {listing(sorted(shared))}",
            "If those are the classes, join them into one folder each; or name the outer"
            " folders train and test. If the outer ones are, remove the inner.",
        )


# --- from files to numbers ----------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Content:
    """An image that is no file of its own, by what it is called in messages."""

    name: str
    content: bytes = dataclasses.field(repr=False)

    def read_bytes(self) -> bytes:
        """Returns what a file of it would hold."""
        return self.content


Source: TypeAlias = Path | Content


@contextlib.contextmanager
def _opened(path: Source) -> Iterator[Any]:
    """Opens an image; whatever Pillow raises becomes one message."""
    from PIL import Image

    with warnings.catch_warnings():
        # What Pillow warns of, damaged metadata above all, changes no pixel.
        warnings.simplefilter("ignore")
        try:
            file = path if isinstance(path, Path) else io.BytesIO(path.content)
            with Image.open(file, formats=_FORMATS) as image:
                if image.width * image.height > _MOST_PIXELS:
                    raise DataError(
                        f"an image has at most {_MOST_PIXELS // 10**6} million pixels",
                        f"{path.name} has {image.width} x {image.height}",
                        "Make the images smaller first.",
                    )
                yield image
        except (DataError, KeyboardInterrupt):
            raise
        # Its decoders let through whatever a damaged file makes them meet.
        except Exception as error:
            raise damaged(Path(path.name), error) from error


def _orientation(image: Any) -> int:
    value = image.getexif().get(_ORIENTATION, 1)
    return value if isinstance(value, int) else 1


def read_images(
    name: str, found: Sequence[Source], told: Reading
) -> tuple[Array | Stored, list[str], str]:
    """Returns (N, C, H, W), notes, and the mode in which all are read.

    They are grey where all are grey, else of three colours; of 8 bits as uint8, of more
    as they stand, float32.
    """
    sizes: collections.Counter[tuple[int, int]] = collections.Counter()
    modes: collections.Counter[str] = collections.Counter()
    turned = several = 0
    for path in found:
        with _opened(path) as image:  # reads the header alone
            size = image.size
            if _orientation(image) in _TURNED:
                size = size[::-1]
            turned += _orientation(image) in range(2, 9)
            sizes[size] += 1
            modes[_grey_palette(image)] += 1
            several += getattr(image, "n_frames", 1) > 1
    deep = sum(count for mode, count in modes.items() if mode in _DEEP)
    if 0 < deep < len(found):
        raise DataError(
            "all images of a data set have the same depth",
            f"{deep} of {len(found)} have 16 bits or fractions, the others 8 bits",
            "Save them alike: brightness of one kind is not comparable to the other's.",
        )
    grey = deep or all(mode in _GREY for mode in modes)
    # The commonest size; of equally common ones the smallest.
    width, height = min(sizes, key=lambda size: (-sizes[size], size))
    channels = 1 if grey else 3
    mode = "F" if deep else "L" if grey else "RGB"
    shape = (len(found), channels, height, width)
    about = _About()
    pixels: Array | Stored
    if told.keeps(4 * math.prod(shape)):
        pixels = np.empty(shape, _type_of(mode))
        for index, image in enumerate(
            about.counted(_decoded(found, mode, (width, height)))
        ):
            pixels[index] = image
    else:
        pixels, about = _kept(name, found, mode, shape)
    notes = []
    count = len(found)
    if turned:
        notes.append(f"Turned as their EXIF data say: {turned} of {count} images.")
    if several:
        notes.append(
            f"Only the first page or frame is used: {several} of {count} images have"
            " several."
        )
    if about.transparent:
        notes.append(
            f"Put on a white background: {about.transparent} of {count} images."
        )
    if modes["CMYK"]:
        notes.append(f"Turned from CMYK into RGB: {modes['CMYK']} of {count} images.")
    if deep:
        notes.append(
            "Pixels of more than 8 bits are read as numbers, from"
            f" {about.least:g} to {about.most:g}."
        )
    other = count - sizes[width, height]
    if other:
        notes.append(
            f"Resized to {width} x {height}, the commonest size: {other} of {count}"
            " images."
        )
    return pixels, notes, mode


@dataclasses.dataclass
class _About:
    """What is said of decoded images."""

    transparent: int = 0
    least: float = math.inf
    most: float = -math.inf

    def counted(self, decoded: Iterable[tuple[Array, bool]]) -> Iterator[Array]:
        """Yields the pixels of each, and takes in what is said of them."""
        for pixels, on_white in decoded:
            self.transparent += on_white
            self.least = min(self.least, float(pixels.min()))
            self.most = max(self.most, float(pixels.max()))
            yield pixels


def _kept(
    name: str, found: Sequence[Source], mode: str, shape: tuple[int, ...]
) -> tuple[Stored, _About]:
    """Returns the images as the cache keeps them, decoded once."""
    import PIL

    dtype, (height, width) = np.dtype(_type_of(mode)), shape[2:]
    # Other releases of Pillow may decode otherwise.
    digest = hashlib.sha256(f"{PIL.__version__} {mode} {shape}".encode())
    for path in found:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise damaged(Path(path.name), error) from error
        digest.update(hashlib.sha256(content).digest())

    def write(sink: cache.Sink) -> dict[str, Any]:
        about = _About()
        for pixels in about.counted(_decoded(found, mode, (width, height))):
            sink.write(np.ascontiguousarray(pixels).tobytes())
        return dataclasses.asdict(about)

    piece, said = cache.kept(name, digest.hexdigest(), shape, dtype, write)
    return Stored.of(piece), _About(**said)


def _type_of(mode: str) -> type[np.generic]:
    return np.float32 if mode == "F" else np.uint8


def _decoded(
    found: Iterable[Source], mode: str, size: tuple[int, int]
) -> Iterator[tuple[Array, bool]]:
    """Yields the pixels of each image, (C, H, W), and whether it was transparent."""
    from PIL import Image

    for path in found:
        with _opened(path) as image:
            plain, on_white = _plain(image, mode)
            if plain.size != size:
                plain = plain.resize(size, Image.Resampling.BILINEAR)
            pixels = np.atleast_3d(np.asarray(plain, _type_of(mode)))
        yield pixels.transpose(2, 0, 1), on_white


def _grey_palette(image: Any) -> str:
    """Returns an image's mode; for a palette of greys that of grey."""
    mode: str = image.mode
    if mode in ("P", "PA"):
        palette = np.array(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
        if (palette == palette[:, :1]).all():
            return "L"
    return mode


def _plain(image: Any, mode: str) -> tuple[Any, bool]:
    """Returns an image turned upright, without transparency; whether it had any."""
    from PIL import Image, ImageOps

    upright = ImageOps.exif_transpose(image)
    if mode == "F":
        values = np.asarray(upright)
        return Image.fromarray(values.astype(np.float32)), False
    if upright.mode in ("RGBA", "LA", "PA", "RGBa", "La") or (
        "transparency" in upright.info
    ):
        coloured = upright.convert("RGBA")
        if np.asarray(coloured)[..., 3].min() < 255:
            white = Image.new("RGBA", coloured.size, (255, 255, 255, 255))
            white.alpha_composite(coloured)
            return white.convert(mode), True
        return coloured.convert(mode), False
    return upright.convert(mode), False
