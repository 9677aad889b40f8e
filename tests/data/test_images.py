"""Folders of images as people have them, and images of every mode."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from archtrial.data import images, load
from archtrial.data.preparation import Preparation
from archtrial.data.stored import Stored
from archtrial.errors import DataError
from archtrial.protocol import Splits


def pets(root, classes=("cat", "dog"), count=4, make=None):
    rng = np.random.default_rng(0)
    for name in classes:
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            pixels = rng.integers(256, size=(5, 6, 3), dtype=np.uint8)
            image = Image.fromarray(pixels)
            (make(image) if make else image).save(root / name / f"{index}.png")
    return root


def notes(root):
    return " ".join(load(root).notes)


def test_transparency_is_put_on_white_and_said(tmp_path):
    def clear(image):
        image = image.convert("RGBA")
        image.putpixel((2, 3), (10, 20, 30, 0))
        image.putpixel((1, 1), (100, 100, 100, 255))
        return image

    pets(tmp_path, make=clear)
    data = load(tmp_path)
    assert data.inputs[0, :, 3, 2].tolist() == [255, 255, 255]
    assert data.inputs[0, :, 1, 1].tolist() == [100, 100, 100]
    assert "Put on a white background: 8 of 8 images." in data.notes
    whole = pets(tmp_path / "whole", make=lambda image: image.convert("RGBA"))
    assert "white" not in notes(whole)


def test_grey_with_alpha_and_palettes(tmp_path):
    data = load(pets(tmp_path / "la", make=lambda image: image.convert("LA")))
    assert data.inputs.shape[1] == 1
    grey = pets(tmp_path / "p", make=lambda i: i.convert("L").convert("P"))
    assert load(grey).inputs.shape[1] == 1
    colours = pets(tmp_path / "c", make=lambda i: i.quantize(16))
    assert load(colours).inputs.shape[1] == 3


def test_cmyk_pages_and_frames_are_said(tmp_path):
    pets(tmp_path)
    with Image.open(tmp_path / "cat" / "0.png") as image:
        image.convert("CMYK").save(tmp_path / "cat" / "9.tif")
        image.save(
            tmp_path / "cat" / "8.tif", save_all=True, append_images=[image.rotate(90)]
        )
        expected = np.asarray(image).transpose(2, 0, 1)
    data = load(tmp_path)
    assert (data.inputs[4] == expected).all()  # the first page of 8.tif
    assert "Turned from CMYK into RGB: 1 of 10 images." in data.notes
    assert any("first page or frame is used: 1 of 10" in note for note in data.notes)


def test_depths_are_not_mixed(tmp_path):
    pets(tmp_path)
    deep = Image.fromarray(np.full((5, 6), 4000, np.uint16))
    deep.save(tmp_path / "cat" / "9.tif")
    with pytest.raises(DataError, match="same depth"):
        load(tmp_path)
    shutil.rmtree(tmp_path)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir(parents=True)
        for index in range(3):
            values = np.full((5, 6), index + 0.25, np.float32)
            Image.fromarray(values).save(tmp_path / name / f"{index}.tif")
    assert load(tmp_path).inputs[5, 0, 2, 2] == 2.25


def test_other_formats_under_a_pictures_name_are_not_opened(tmp_path):
    pets(tmp_path)
    (tmp_path / "cat" / "9.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    )
    with pytest.raises(DataError, match="cannot identify image file"):
        load(tmp_path)


def test_pictures_too_large_to_be_meant(tmp_path, monkeypatch):
    pets(tmp_path)
    monkeypatch.setattr(images, "_MOST_PIXELS", 29)
    with pytest.raises(DataError, match="million pixels"):
        load(tmp_path)


def test_a_wrapper_and_what_holds_no_image(tmp_path):
    pets(tmp_path / "pets")
    for name in ("__MACOSX/cat", "labels", ".cache/x"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "__MACOSX" / "cat" / "._0.png").write_text("x")
    data = load(tmp_path)
    assert data.classes == ("cat", "dog")
    assert "Read from the folder pets inside" in " ".join(data.notes)
    assert "hold no image: __MACOSX and labels." in " ".join(data.notes)


@pytest.mark.parametrize(
    ("folders", "says"),
    [
        (["train/", "test/", "dog/"], "test to test_class"),
        (["train/", "test/"], "test to test_class"),
        (["val/a/", "val/b/", "test/a/", "test/b/"], "have a folder train"),
        (["train/a/", "train/b/", "test/a/", "test/c/"], "c only outside train"),
        (
            ["fold1/a/", "fold1/b/", "fold2/a/", "fold2/b/"],
            "all hold the folders a and b",
        ),
        (["train/a/", "training/a/", "test/a/"], "one folder for each set"),
    ],
)
def test_folders_whose_meaning_cannot_be_told(tmp_path, folders, says):
    for folder in folders:
        pets(tmp_path, [folder])
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert says in str(caught.value)


@pytest.mark.parametrize("names", [("train", "test"), ("Training", "TEST", "dev")])
def test_folders_of_sets(tmp_path, names):
    for name in names:
        pets(tmp_path / "wrapped" / name, count=3)
    data = load(tmp_path)
    assert data.classes == ("cat", "dog")
    assert np.bincount(data.given).tolist() == (
        [6, 0, 6] if len(names) == 2 else [6] * 3
    )


def test_the_limit_is_on_what_images_become(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pets(tmp_path / "pets")
    needed = 4 * load(tmp_path / "pets").inputs.size / 2**30
    assert isinstance(load(tmp_path / "pets", memory=needed).inputs, np.ndarray)
    assert isinstance(load(tmp_path / "pets", memory=needed - 1e-9).inputs, Stored)


# --- a model's raw inputs ------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "I;16"])
def test_paths_are_read_as_the_images_of_the_study(tmp_path, mode):
    rng = np.random.default_rng(0)
    for i in range(40):
        place = tmp_path / "images" / "ab"[i % 2] / f"{i:02}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        if mode == "I;16":
            pixels = rng.integers(0, 2**16, (6, 5), dtype=np.uint16)
        else:
            channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
            pixels = rng.integers(0, 256, (6, 5 + (i == 7), *channels), dtype=np.uint8)
        Image.fromarray(pixels).save(place)
    data = load(tmp_path / "images")
    split = data.split(Splits(), 0)
    stored = json.loads(json.dumps(split.preparation.to_dict()))
    prepare = Preparation.from_dict(stored)
    paths = [*sorted((tmp_path / "images/a").iterdir())]
    paths += [*sorted((tmp_path / "images/b").iterdir())]
    raw = data.inputs
    assert torch.equal(prepare(paths), prepare(raw))
    assert torch.equal(prepare([str(path) for path in paths[:2]]), prepare(raw[:2]))
    with pytest.raises(DataError, match="there is no"):
        prepare(["nowhere.png"])
    other = tmp_path / "other.png"
    deep = mode != "I;16"
    Image.fromarray(np.ones((6, 5), np.uint16 if deep else np.uint8)).save(other)
    with pytest.raises(DataError, match="as those of the study"):
        prepare([other])


def test_paths_need_a_study_of_files(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(0).random((40, 6, 6)),
             y=np.arange(40) % 2)  # fmt: skip
    prepare = load(tmp_path / "d.npz").split(Splits(), 0).preparation
    with pytest.raises(DataError, match="files of images"):
        prepare(["a.png"])
