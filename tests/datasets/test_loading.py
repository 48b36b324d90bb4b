"""Data sets: the same items whatever the file system, sides kept apart, and one clear error for each thing amiss."""

import hashlib
import io
import os
import pickle
import re
import socket
import tarfile
import threading
import unicodedata
import warnings
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import CIFAR10, ImageFolder

from d2lstyle import read_image, sample
from d2lstyle.datasets import load_dataset, loading, reading
from d2lstyle.engine.decoding import photo_endings

SPLITS = ("train", "validation", "test")


def noise(seed, height=12, width=12):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def save(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def fill(folder, **counts):
    """Class folders with so many distinct pictures each, coloured noise."""
    for name, count in counts.items():
        for i in range(count):
            save(folder / name / f"{i:03d}.png", noise([*f"{folder.name}/{name}/{i}".encode()]))
    return folder


def fill_splits(folder, **counts):
    for side in counts.pop("sides", SPLITS):
        fill(folder / side, **counts or {"cat": 4, "dog": 3})
    return folder


def in_all(folder, **options):
    """{split: the data set}."""
    return {split: load_dataset(folder, split, size=8, **options) for split in SPLITS}


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    """Four cats and three dogs to test on; the folder has as many on the other sides."""
    return load_dataset(fill_splits(tmp_path_factory.mktemp("data") / "pets"), "test", size=12)


# items


def test_items_of_a_class_folder(pets):
    assert repr(pets) == "pets test: 7 images of 2 classes, 12 x 12"
    assert (pets.name, pets.split, pets.classes, pets.size) == ("pets", "test", ["cat", "dog"], 12)
    assert pets.labels.tolist() == [0, 0, 0, 0, 1, 1, 1] and pets.labels.dtype == torch.int64
    assert len(pets) == 7 and len(list(pets)) == 7
    for (image, label), file in zip(pets, pets.files):
        assert image.shape == (3, 12, 12) and image.dtype == torch.float32 and type(label) is int
        assert pets.classes[label] == file.parent.name and file.parent.parent.name == "test"
        assert torch.equal(image, read_image(file)[0])  # nothing lost at the file's own size


@pytest.mark.parametrize("shape", [(8, 20), (20, 8), (9, 20)])
def test_the_middle_square_is_cut_out(tmp_path, shape):
    (height, width), side = shape, min(shape)
    pixels = np.zeros((*shape, 3), np.uint8)
    pixels[(height - side) // 2 :][:side, (width - side) // 2 :][:, :side] = 200  # this alone should be seen
    save(tmp_path / "pets" / "test" / "cat" / "1.png", Image.fromarray(pixels))
    save(tmp_path / "pets" / "train" / "cat" / "1.png", noise(0))
    image, _ = load_dataset(tmp_path / "pets", "test", size=4)[0]
    assert torch.equal(image, torch.full((3, 4, 4), 200 / 255))


def test_shrinking_is_antialiased(tmp_path):
    stripes = Image.fromarray(np.tile(np.array([0, 255], np.uint8)[None, :, None], (64, 32, 3)))
    for side in ("train", "test"):
        save(tmp_path / "pets" / side / "cat" / f"{side}.png", stripes)
    with pytest.warns(UserWarning):
        image, _ = load_dataset(tmp_path / "pets", "test", size=8)[0]
    assert (image[:, :, 1:-1] - 0.5).abs().max() < 0.02


@pytest.mark.parametrize("cache", [1 << 30, 3 * 12 * 12 * 3, 0])
def test_batches_subsets_and_singles_agree(pets, monkeypatch, cache):
    """With all, three or none of the images in memory."""
    monkeypatch.setattr(loading, "CACHE_BYTES", cache)
    data = load_dataset(pets.files[0].parents[2], "test", size=12)
    for indices in ([2, 0, 2, -1], torch.tensor([6, 1]), np.array([5], np.uint8), range(7), []):
        images, labels = data.batch(indices)
        assert images.shape == (len(indices), 3, 12, 12)
        assert images.dtype == torch.float32 and labels.dtype == torch.int64
        for image, label, i in zip(images, labels, indices):
            assert torch.equal(image, data[i][0]) and label == data[i][1] == data.labels[i]
            assert torch.equal(image, read_image(data.files[i])[0])
        part = data.subset(indices)
        assert torch.equal(part.batch(range(len(part)))[0], images) and part.files == [data.files[i] for i in indices]
        assert part.classes == data.classes
    again = data.subset([5, 3, 1]).subset([-1, 0])
    assert again.files == [data.files[1], data.files[5]] and torch.equal(again[1][0], data[5][0])


def test_a_data_loader_takes_it_and_a_worker_can(pets):
    images, labels = next(iter(DataLoader(pets, batch_size=7)))
    assert torch.equal(images, pets.batch(range(7))[0]) and torch.equal(labels, pets.labels)
    assert torch.equal(pickle.loads(pickle.dumps(pets))[3][0], pets[3][0])


def test_files_are_decoded_once_and_progress_is_reported(tmp_path):
    calls = []
    data = load_dataset(fill_splits(tmp_path), "test", size=8, callback=lambda *call: calls.append(call))
    assert calls == [(i, 7) for i in range(1, 8)]
    for file in data.files:
        file.unlink()
    assert len([data[i] for i in range(7)]) == 7 and len(data.subset([1]).batch([0])[0]) == 1


def test_wrong_indices(pets):
    wrong = {IndexError: ([7], [-8]), TypeError: ([0.5], [True], 3, [[1]])}
    for error, method in product(wrong, (pets.batch, pets.subset)):
        for indices in wrong[error]:
            with pytest.raises(error, match="expected indices"):
                method(indices)
    with pytest.raises(TypeError):
        pets[0:2]


def test_every_kind_of_photo_counts(tmp_path):
    """Whatever Pillow can write here of what it reads; and the same ending in capitals."""
    endings = sorted(e for e in photo_endings() if Image.registered_extensions()[e] in Image.SAVE)
    for ending in [*endings, *map(str.upper, endings)]:
        save(tmp_path / "pets" / "train" / "cat" / f"1{ending}", Image.new("RGB", (8, 8), (0, 255, 0)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # some endings name one format: the files are equal
        data = load_dataset(fill_splits(tmp_path / "pets", cat=1, sides=["valid"]), size=8)
    assert {".jfif", ".ppm", ".tga", ".jpg", ".PNG", ".TIFF"} <= {file.suffix for file in data.files}
    assert len(data) == 2 * len(endings) > 40
    expected = torch.tensor([0.0, 1, 0])[:, None, None].expand(3, 8, 8)
    grey = {".pgm", ".pbm", ".pfm"}  # by name; Pillow writes colour into all of them
    assert all((image - expected).abs().max() < 0.02 for (image, _), f in zip(data, data.files) if f.suffix not in grey)


def test_a_callback_may_stop_it(pets):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_dataset(pets.files[0].parents[2], "test", size=8, callback=stop)


# a draw of a few images


def test_a_seed_draws_a_few_of_each_class_and_fewer_are_among_more(tmp_path):
    folder = fill(tmp_path / "pets", cat=14, dog=14)
    load = partial(load_dataset, folder, size=12)
    train, few, more = load(), load(per_class=2, seed=1), load(per_class=5, seed=1)
    assert set(few.files) < set(more.files) < set(train.files)  # so none can lie in validation or test
    assert Counter(more.labels.tolist()) == {0: 5, 1: 5} and load(per_class=5, seed=1).files == more.files
    assert all(torch.equal(image, read_image(file)[0]) for (image, _), file in zip(more, more.files))
    assert len({tuple(load(per_class=5, seed=seed).files) for seed in range(4)}) == 4
    assert load(split_seed=1).files != train.files


# vending


@pytest.fixture
def vending(monkeypatch):
    """One picture of each of the goods on each side, instead of up to a hundred."""
    monkeypatch.setattr("d2lstyle.samples.vending.PER_CLASS", dict.fromkeys(SPLITS, 1))


@pytest.mark.parametrize("split, domain", [("test", "studio"), ("train", "showroom")])
def test_vending(vending, tmp_path, split, domain):
    data = load_dataset("vending", split, domain=domain, root=tmp_path)
    assert repr(data) == f"vending/{domain} {split}: 12 images of 12 classes, 96 x 96"
    assert {file.parent.parent for file in data.files} == {tmp_path / "vending" / domain / split}
    assert load_dataset("vending", split, domain=domain, root=tmp_path, size=24)[0][0].shape == (3, 24, 24)


# hotdog


@pytest.fixture
def hotdog_zip(tmp_path, monkeypatch):
    """The published archive in small, whose digest is then the known one; its address leads nowhere."""
    fill_splits(tmp_path / "made" / "hotdog", sides=["train", "test"], **{"hotdog": 5, "not-hotdog": 5})
    path = tmp_path / "hotdog.zip"
    with zipfile.ZipFile(path, "w") as file:
        for member in sorted((tmp_path / "made").rglob("*.png")):
            file.write(member, member.relative_to(tmp_path / "made"))
    monkeypatch.setattr(loading, "_HOTDOG_DIGEST", ("sha1", hashlib.sha1(path.read_bytes()).hexdigest()))
    monkeypatch.setattr(loading, "_HOTDOG_URL", "http://127.0.0.1:9/hotdog.zip")
    return path


def test_hotdog_from_an_archive_given_by_hand(hotdog_zip, tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    os.rename(hotdog_zip, root / "hotdog.zip")
    sets = {split: load_dataset("hotdog", split, root=root) for split in SPLITS}
    assert repr(sets["test"]) == "hotdog test: 10 images of 2 classes, 224 x 224"
    assert len(sets["train"]) + len(sets["validation"]) == 10
    assert not set(sets["train"].files) & set(sets["validation"].files)
    (root / "hotdog.zip").unlink()
    assert len(load_dataset("hotdog", "test", root=root, size=8)) == 10  # the folder is enough


@pytest.fixture
def served(tmp_path):
    """The address at which the files of a folder of this computer can be had."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=tmp_path))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_hotdog_is_downloaded(hotdog_zip, tmp_path, monkeypatch, served):
    monkeypatch.setattr(loading, "_HOTDOG_URL", f"{served}/hotdog.zip")
    calls, size = [], hotdog_zip.stat().st_size
    data = load_dataset("hotdog", "test", root=tmp_path / "data", size=8, callback=lambda *call: calls.append(call))
    assert len(data) == 10 and (size, size) in calls and calls[-1] == (10, 10)
    assert sorted(os.listdir(tmp_path / "data")) == ["hotdog", "hotdog.zip"]


ARCHIVES = {"hotdog": "hotdog.zip", "clothing": "clothing.zip", "cifar10": "cifar-10-python.tar.gz"}


@pytest.mark.parametrize("name, file", ARCHIVES.items())
def test_offline_is_one_sentence(hotdog_zip, tmp_path, monkeypatch, name, file):
    monkeypatch.setattr(loading, "_CLOTHING_URL", "http://127.0.0.1:9/clothing.zip")
    monkeypatch.setattr("torchvision.datasets.CIFAR10.url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    root = tmp_path / "data"
    text = f"^{name} could not be downloaded .*put {file} from http.* {root} by hand"
    with pytest.raises(ConnectionError, match=text):
        load_dataset(name, root=root)
    root.mkdir(exist_ok=True)
    (root / file).write_bytes(b"another")
    with pytest.raises(
        ValueError, match=f"{file} is damaged or another file .*, expected .*: remove it, or put {file}"
    ):
        load_dataset(name, root=root)
    assert (root / file).read_bytes() == b"another"


# clothing

TOP = "clothing-dataset-small-36364be1969242c019705255cd87aed00c73a939"


def clothing_zip(path, comment=TOP[-40:], top=TOP, leave=(), **members):
    """GitHub's archive in small: as many photos as its commit has, each of them a byte long."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{top}/", b"")
        for side, counts in loading._CLOTHING_SIDES.items():
            for kind, count in zip(loading._CLOTHING_CLASSES, counts):
                for i in range(count if f"{side}/{kind}" not in leave else count - 1):
                    file.writestr(f"{top}/{side}/{kind}/{i}.jpg", f"{side} {kind} {i}".encode())
        for name, content in {f"{top}/README.md": b"notes", **members}.items():
            file.writestr(name, content)
        file.comment = comment.encode()
    return path


def test_the_photos_of_clothing_are_counted_as_published():
    """3,068, 341 and 372, as the repository says; the smallest and the largest class."""
    assert [sum(counts) for counts in loading._CLOTHING_SIDES.values()] == [3068, 341, 372]
    assert {len(counts) for counts in loading._CLOTHING_SIDES.values()} == {len(loading._CLOTHING_CLASSES)} == {10}
    assert loading._CLOTHING_URL.endswith("alexeygrigorev/clothing-dataset-small/archive/" + TOP[-40:] + ".zip")


@pytest.mark.parametrize("by_hand", [True, False])
def test_clothing_from_its_archive(tmp_path, monkeypatch, served, by_hand):
    """Its files land in <root>/clothing, and those whose names lead elsewhere nowhere outside."""
    root = tmp_path / "data"
    path = (root if by_hand else tmp_path / "served") / "clothing.zip"
    evil = {"../evil": b"x", f"{TOP}/../../evil": b"x", str(tmp_path / "evil"): b"x"}
    clothing_zip(path, **evil)
    monkeypatch.setattr(loading, "_CLOTHING_URL", f"{served}/served/clothing.zip")
    with pytest.raises(ValueError, match="372 of 372 files in .*clothing/test cannot be read as images"):
        load_dataset("clothing", "test", root=root)  # a byte is no photo
    assert sorted(os.listdir(root)) == ["clothing", "clothing.zip"]
    assert (root / "clothing/train/t-shirt/794.jpg").read_bytes() == b"train t-shirt 794"
    assert {file.parent for file in tmp_path.rglob("*evil*")} <= {root / "clothing"}


def test_a_folder_called_clothing_is_taken(tmp_path):
    fill_splits(tmp_path / "clothing", sides=SPLITS, hat=2, dress=3)
    data = load_dataset("clothing", "validation", root=tmp_path)
    assert repr(data) == "clothing validation: 5 images of 2 classes, 224 x 224" and data.classes == ["dress", "hat"]


ANOTHER = {  # how the archive differs: words of the error
    "another commit": (dict(comment="0" * 40), "its comment is b'0000.*', expected 36364be"),
    "no comment": (dict(comment=""), "its comment is b'', expected 36364be"),
    "a missing photo": (dict(leave=["test/hat"]), f"it has 11 files in {TOP}/test/hat, expected 12"),
    "another folder": (dict(top="clothing"), f"it has 0 files in {TOP}/train/dress, expected 241"),
    "one photo more": ({f"{TOP}/train/hat/x.jpg": b"x"}, f"it has 124 files in {TOP}/train/hat, expected 123"),
}


@pytest.mark.parametrize("by_hand", [True, False])
@pytest.mark.parametrize("name", ANOTHER)
def test_another_archive_is_refused_in_one_sentence(tmp_path, monkeypatch, served, name, by_hand):
    changes, words = ANOTHER[name]
    root = tmp_path / "data"
    path = clothing_zip((root if by_hand else tmp_path / "served") / "clothing.zip", **changes)
    monkeypatch.setattr(loading, "_CLOTHING_URL", f"{served}/served/clothing.zip")
    error, text = (ValueError, "is damaged or another file") if by_hand else (ConnectionError, "sent another file: ")
    with pytest.raises(error, match=f"{text}.*{words}.* put clothing.zip from http") as caught:
        load_dataset("clothing", root=root)
    assert "\n" not in str(caught.value) and path.exists()
    assert os.listdir(root) == (["clothing.zip"] if by_hand else [])


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda data: data[: len(data) // 2], "it cannot be read: File is not a zip file"),
        (
            lambda data: data.replace(b"validation hat 3", b"validation hat 4", 1),
            "validation/hat/3.jpg in it is damaged",
        ),
    ],
)
def test_a_damaged_archive_is_refused(tmp_path, damage, words):
    path = clothing_zip(tmp_path / "clothing.zip")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=f"clothing.zip is damaged or another file .*{words}.*: remove it"):
        load_dataset("clothing", root=tmp_path)
    assert os.listdir(tmp_path) == ["clothing.zip"]


# cifar10


@pytest.fixture
def cifar10(tmp_path, monkeypatch):
    """torchvision's class for an archive of 20 images of each of two classes, which lies in the data's folder."""
    rng, digests = np.random.default_rng(0), {}
    with tarfile.open(tmp_path / CIFAR10.filename, "w:gz") as file:
        for name in ("batches.meta", "data_batch_1", "data_batch_2", "test_batch"):
            count = 40 if name == "test_batch" else 20
            content = {"data": rng.integers(0, 256, (count, 3072), np.uint8), "labels": [0, 1] * (count // 2)}
            content = pickle.dumps({"label_names": ["airplane", "bird"]} if name == "batches.meta" else content)
            info = tarfile.TarInfo(f"{CIFAR10.base_folder}/{name}")
            info.size, digests[name] = len(content), hashlib.md5(content).hexdigest()
            file.addfile(info, io.BytesIO(content))
    meta, *train, test = digests.items()
    monkeypatch.setattr(CIFAR10, "train_list", train)
    monkeypatch.setattr(CIFAR10, "test_list", [test])
    monkeypatch.setattr(CIFAR10, "meta", {"filename": meta[0], "md5": meta[1], "key": "label_names"})
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5((tmp_path / CIFAR10.filename).read_bytes()).hexdigest())
    return partial(CIFAR10, tmp_path)


@pytest.mark.parametrize("size", [32, 8])
def test_cifar10(cifar10, tmp_path, size):
    sets = {split: load_dataset("cifar10", split, root=tmp_path, size=size) for split in SPLITS}
    assert repr(sets["train"]) == f"cifar10 train: 36 images of 2 classes, {size} x {size}"
    assert Counter(sets["validation"].labels.tolist()) == {0: 2, 1: 2} and len(sets["test"]) == 40
    assert not set(sets["train"].files) & set(sets["validation"].files)
    for split, data in sets.items():
        source = cifar10(train=split != "test")
        for (image, label), file in zip(data, data.files):
            pixels = torch.from_numpy(source.data[int(file.name)]).permute(2, 0, 1) / 255
            assert label == source.targets[int(file.name)] and abs(image.mean() - pixels.mean()) < 0.02
            assert size != 32 or torch.equal(image, pixels)
    assert sorted(os.listdir(tmp_path)) == ["cifar-10-batches-py", "cifar-10-python.tar.gz"]


def test_cifar10_half_unpacked_is_mended_and_several_may_unpack_at_once(cifar10, tmp_path):
    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(b"half")
    with ThreadPoolExecutor(4) as pool:
        sets = list(pool.map(lambda split: load_dataset("cifar10", split, root=tmp_path), SPLITS * 2))
    assert [len(data) for data in sets] == [36, 4, 40] * 2 and len(os.listdir(folder)) == 4
    assert sorted(os.listdir(tmp_path)) == ["cifar-10-batches-py", "cifar-10-python.tar.gz"]


def test_cifar10_draws_few(cifar10, tmp_path):
    few, everything = (load_dataset("cifar10", root=tmp_path, per_class=k) for k in (3, None))
    where = [everything.files.index(file) for file in few.files]
    assert torch.equal(few.batch(range(6))[0], everything.batch(where)[0]) and few.labels.bincount().tolist() == [3, 3]


# splits


@pytest.mark.filterwarnings("error")  # distinct pictures: there is nothing to warn of
@pytest.mark.parametrize("name", ["validation", "valid", "Val"])
def test_a_validation_folder_by_any_name(tmp_path, name):
    folder = fill_splits(tmp_path / "pets", sides=["train", "test", name])
    sets = in_all(folder)
    assert [len(data) for data in sets.values()] == [7, 7, 7]
    assert {file.parent.parent.name for file in sets["validation"].files} == {name}


@pytest.mark.parametrize(
    "sides, expected",
    [
        ((), {"train": [10, 20], "validation": [2, 4], "test": [2, 4]}),
        (("train",), {"train": [12, 24], "validation": [2, 4]}),
        (("train", "test"), {"train": [12, 24], "validation": [2, 4], "test": [14, 28]}),
    ],
)
def test_automatic_splits_hold_every_image_once(tmp_path, sides, expected):
    fill_pets = partial(fill_splits, sides=sides) if sides else fill
    folder = fill_pets(tmp_path / "pets", cat=14, dog=28)
    sets = {split: load_dataset(folder, split, size=8) for split in expected}
    assert {split: data.labels.bincount().tolist() for split, data in sets.items()} == expected
    files = [file for data in sets.values() for file in data.files]
    assert len(files) == len(set(files)) == 42 * max(1, len(sides))


@pytest.mark.filterwarnings("ignore:'train' is a class of")
def test_a_class_may_be_called_train(tmp_path):
    assert load_dataset(fill(tmp_path / "vehicles", bus=3, train=3), size=8).classes == ["bus", "train"]


def test_splits_do_not_depend_on_the_order_of_listing(tmp_path, monkeypatch):
    folder = fill(tmp_path / "pets", cat=12, dog=12)
    expected = {split: data.files for split, data in in_all(folder).items()}
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: sorted(listed(self), key=lambda path: path.name[::-1])[::-1])
    assert {split: data.files for split, data in in_all(folder).items()} == expected


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """12 distinct crops of photos in two classes, each with a near-duplicate and an exact copy."""
    folder = tmp_path_factory.mktemp("copies")
    for k, name in enumerate(("coffee", "chelsea", "astronaut", "hopper", "flower", "brick")):
        photo = (sample(name)[0] * 255).round().byte().permute(1, 2, 0).numpy()
        for corner in range(2):
            picture = Image.fromarray(photo[corner * 130 :, corner * 130 :][:130, :130])
            place = folder / ("odd" if k % 2 else "even")
            save(place / f"{name}{corner}-png.png", picture)
            save(place / f"{name}{corner}-copy.png", picture)
            save(place / f"{name}{corner}-mirrored.jpg", picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), quality=80)
    return folder


@pytest.mark.parametrize("given_train", [False, True])
def test_near_duplicates_stay_on_one_side_whatever_the_seed(copies, tmp_path, given_train):
    folder, splits = (tmp_path, SPLITS[:2]) if given_train else (copies, SPLITS)
    (tmp_path / "train").symlink_to(copies)
    arrangements = set()
    for seed in range(4):
        sides = [load_dataset(folder, split, size=4, split_seed=seed).files for split in splits]
        kinds = [{file.name.partition("-")[0] for file in files} for files in sides]
        assert sum(map(len, kinds)) == len(set.union(*kinds)) == 12  # no kind on two sides, none lost
        arrangements.add(tuple(map(frozenset, kinds)))
    assert len(arrangements) > 2


@pytest.mark.filterwarnings("ignore:equal pictures under two labels, 2")
def test_equal_files_on_two_given_sides_are_warned_of(tmp_path):
    folder = fill_splits(tmp_path / "pets", sides=["train", "test"])
    for i in range(2):
        (folder / "test" / "dog" / f"again{i}.png").write_bytes((folder / "train" / "cat" / f"00{i}.png").read_bytes())
    text = r"^2 files of test are in train too, such as \S*again0.png and \S*cat.000.png: remove"
    with pytest.warns(UserWarning, match=text) as caught:
        data = load_dataset(folder, "test", size=8)
    assert len(data) == 9 and caught[0].filename == __file__  # nothing taken away; the warning points here
    with pytest.warns(UserWarning, match="2 files of test are in train"):
        load_dataset(folder, "validation", size=8)


# what lies about in folders


def warned(folder, split="train", **options):
    """The data set and the texts of the warnings, each of which points to the line that asked for it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = load_dataset(folder, split, size=8, **options)
    assert {warning.filename for warning in caught} <= {__file__}
    return data, [str(warning.message) for warning in caught]


def test_the_listing_is_torchvisions(tmp_path):
    """Nested photos, in classes of any name; each of them once."""
    folder = fill(tmp_path / "pets" / "train", **dict.fromkeys(("10", "9", "a b", "__background__", "Cat", "é"), 1))
    fill(folder, **{"cat": 2, "cat/tabby": 2, "cat/tabby/old": 1, "cat/tabby x": 1, "cat/Tom": 1, "dog/puppies": 2})
    fill(tmp_path, elsewhere=2)
    (folder / "dog" / "more").symlink_to(tmp_path / "elsewhere")
    (folder / "cat" / "one.png").symlink_to(tmp_path / "elsewhere" / "000.png")
    save(folder / "cat" / "LOUD.JPG", noise(1))
    (folder / "cat" / "notes.txt").touch()
    (tmp_path / "pets" / "validation").mkdir()
    expected, (data, _) = ImageFolder(folder), warned(tmp_path / "pets")
    assert data.classes == expected.classes and len(data) == 19
    assert [(str(file), label) for file, label in zip(data.files, data.labels.tolist())] == expected.samples


LITTER = (
    ".DS_Store ._1.png Thumbs.db desktop.ini Icon\r 1.png:Zone.Identifier __MACOSX @eaDir $RECYCLE.BIN .git lost+found "
    ".ipynb_checkpoints __pycache__ .Trash-1000"
).split(" ") + ["System Volume Information"]


def test_litter_of_systems_is_passed_over_without_a_word(tmp_path):
    folder = fill_splits(tmp_path / "pets", sides=["train", "valid"], cat=2)
    for name in LITTER:
        fill(folder, **{name: 1, f"train/{name}": 1, f"train/cat/{name}": 1})
    for name in (*LITTER, "README", "labels.csv", ".hidden"):
        (folder / "valid" / "cat" / name).write_bytes(b"no image")
    for split in ("train", "validation"):
        data, texts = warned(folder, split)
        assert len(data) == 2 and data.classes == ["cat"] and texts == []


def test_what_else_is_not_read_is_named_in_one_warning(tmp_path):
    folder = fill_splits(tmp_path / "pets", sides=["Train", "val"], cat=3, dog=2)
    fill(folder, dev=1, extra=1, testing=1, **{"Train/.hid": 1, "Train/cat/nested": 1})
    cat = folder / "Train" / "cat"
    os.mkfifo(cat / "pipe.png")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(cat / "socket.jpg"))
    (cat / "device.png").symlink_to("/dev/zero")
    (cat / "gone.png").symlink_to("nowhere")
    (cat / "ring").symlink_to("ring")
    (cat / "loop").symlink_to(cat)
    (cat / "nested" / "up").symlink_to(folder)
    (cat / "again").symlink_to(cat / "nested")
    (folder / "Train" / "mouse").symlink_to(tmp_path / "unmounted")
    (folder / "Train" / "all").symlink_to("..")
    save(folder / "Train" / "loose.png", noise(1))
    save(cat / ".hidden.png", noise(2))
    data, (text,) = warned(folder)
    assert len(data) == 6 and data.classes == ["cat", "dog"]
    assert text.startswith(f"not read in {folder}: ")
    assert text.partition(": ")[2].split("; ") == [
        "dev (no split: if it is one, rename it to validation)",
        "extra (neither train, validation nor test)",
        "testing (no split: if it is one, rename it to test)",
        "Train/.hid, Train/cat/.hidden.png (hidden)",
        "Train/mouse, Train/cat/gone.png, Train/cat/ring (a link that leads nowhere)",
        "Train/all, Train/cat/nested/up, Train/cat/again, Train/cat/loop (a link to a folder that holds it, or is read "
        "already)",
        "Train/cat/device.png, Train/cat/pipe.png, Train/cat/socket.jpg (a pipe, a socket or a device)",
        "Train/loose.png (outside the class folders)",
    ]


@pytest.mark.parametrize(
    "places", ["test/1.jpg", "test/", "test/cat/ test/dog/", "test/unknown/1.jpg", "validation/1.jpg"]
)
def test_photos_without_labels_block_their_own_split_alone(tmp_path, places):
    data, texts = warned(lay_out(fill_splits(tmp_path / "pets", sides=["train"]), places))
    assert data.labels.bincount().min() >= 1 and texts == []  # the refusals are among FOLDERS


def test_two_spellings_of_a_name_are_one_class_and_two_cases_are_two(tmp_path):
    composed, decomposed = "café", unicodedata.normalize("NFD", "café")
    folder = fill(tmp_path / "pets" / "train", **{composed: 2, decomposed: 3, "Café": 4})
    for side, name in (("validation", decomposed), ("test", composed)):
        fill(tmp_path / "pets" / side, **{name: 2, "Café": 1})
    for split, counts in {"train": [4, 5], "validation": [1, 2], "test": [1, 2]}.items():
        data, texts = warned(tmp_path / "pets", split)
        assert data.classes == ["Café", composed] and data.labels.bincount().tolist() == counts and texts == []
    assert {file.parent for file in data.files} < {tmp_path / "pets" / "test" / name for name in os.listdir(folder)}


def test_one_picture_under_two_labels_and_strong_imbalance_are_a_warning_each(tmp_path):
    folder = fill_splits(tmp_path / "pets", sides=["train", "test", "val"], cat=32, dog=2)
    for name in ("cat/b.png", "dog/a.png"):
        save(folder / "train" / name, noise(7))
    data, (twice, imbalance) = warned(folder)
    pair = f"{folder / 'train/dog/a.png'} and {folder / 'train/cat/b.png'}"
    assert twice == f"equal pictures under two labels, 1 in all, such as {pair}: keep the right one" and len(data) == 36
    advice = 'fit(class_weights="balanced") gives each class the same weight'
    assert imbalance == f"'cat' has 33 images to train, 'dog' only 3: {advice}"
    assert warned(folder, per_class=2)[1] == warned(folder, "test")[1] == [twice]  # of other splits, it is no matter
    for name in ("dog/a.png", "cat/000.png", "cat/001.png", "cat/002.png"):
        (folder / "train" / name).unlink()
    assert warned(folder)[1] == [f"'cat' has 30 images to train, 'dog' only 2: {advice}"]
    save(folder / "train" / "dog" / "new.png", noise(8))
    assert warned(folder)[1] == []  # ten to one


@pytest.mark.parametrize(
    "places, words",
    [
        ("cat=4 dog=4 test=4", "'test' is a class of .*pets: if it is a split, put class folders into it"),
        ("data/cat=4 data/dog=4", "'data' is the only class of .*: if its folders are the classes, load .*pets.data$"),
        (
            "data/cat=4 data/cat/old=4",
            "'data' is the only class of .*: if its folders are the classes, load .*pets.data$",
        ),
    ],
)
def test_layouts_of_two_meanings_are_warned_of(tmp_path, places, words):
    _, (text,) = warned(lay_out(tmp_path / "pets", places))
    assert re.search(words, text)


# what is kept of the comparison


@pytest.fixture
def thumbs(monkeypatch):
    """The files of which a thumbnail is made from now on."""
    files, thumb = [], reading._thumb
    monkeypatch.setattr(reading, "_thumb", lambda file: files.append(file) or thumb(file))
    return files


def test_each_picture_is_compared_once_and_again_where_it_is_another(tmp_path, thumbs):
    folder = fill(tmp_path / "pets", cat=12, dog=12)
    first, again = ({split: data.files for split, data in in_all(folder).items()} for _ in range(2))
    assert first == again and len(thumbs) == len(set(thumbs)) == 24
    os.rename(folder, folder := tmp_path / "moved")
    moved = {split: data.files for split, data in in_all(folder).items()}
    names = [[[file.name for file in files] for files in sides.values()] for sides in (first, moved)]
    assert names[0] == names[1] and len(thumbs) == 24
    alike = [save(folder / place, noise(1)) for place in ("cat/003.png", "cat/new0.png", "cat/new1.png")]
    sides = {side for side, data in in_all(folder).items() if set(alike) & set(data.files)}
    assert sorted(thumbs[24:]) == alike and len(sides) == 1


class Trap:
    def __reduce__(self):
        return pytest.fail, ("unpickled",)


def test_what_is_kept_may_be_damaged_or_not_be_writable(tmp_path, thumbs):
    folder = fill(tmp_path / "pets", cat=7, dog=7)
    expected, kept = load_dataset(folder, size=8).files, folder / reading.THUMBS
    whole = kept.read_bytes()
    arrays = dict(np.load(kept))
    damages = [b"", b"text", whole[: len(whole) // 2], whole[:5000] + b"\0\1" + whole[5002:]]
    damages += [arrays | {name: arrays[name][1:]} for name in arrays] + [{"keys": arrays["keys"]}]
    damages += [arrays | {"thumbs": np.array([Trap()] * 14)}]
    for damage in damages:
        kept.write_bytes(damage) if isinstance(damage, bytes) else np.savez(kept, **damage)
        thumbs.clear()
        assert load_dataset(folder, size=8).files == expected and len(thumbs) == 14
        assert {name: array.tobytes() for name, array in np.load(kept).items()} == {
            name: array.tobytes() for name, array in arrays.items()
        }
    kept.unlink()
    kept.mkdir()
    assert load_dataset(folder, size=8).files == expected and sorted(os.listdir(folder)) == [kept.name, "cat", "dog"]


def test_many_keep_a_comparison_at_once_and_a_reader_meets_whole_files(tmp_path):
    folder = fill(tmp_path / "pets", cat=7, dog=7)
    done, kept = threading.Event(), folder / reading.THUMBS

    def write(_):
        for _ in range(3):
            kept.unlink(missing_ok=True)
            load_dataset(folder, size=8)

    def read():
        with suppress(FileNotFoundError):
            assert len(np.load(kept)["keys"]) == 14
        return not done.is_set()

    with ThreadPoolExecutor(5) as pool:
        reader = pool.submit(lambda: [None for _ in iter(read, False)])
        list(pool.map(write, range(4)))
        done.set()
        assert len(reader.result()) > 5
    assert sorted(os.listdir(folder)) == [kept.name, "cat", "dog"]


def test_nothing_of_the_process_is_changed(tmp_path):
    folder = fill(tmp_path / "pets", cat=7, dog=7)
    state = warnings.filters[:], torch.random.get_rng_state(), np.random.get_state()[1].copy()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda split: load_dataset(folder, split, size=8, per_class=1), SPLITS))
    assert warnings.filters == state[0] and (np.random.get_state()[1] == state[2]).all()
    assert torch.equal(torch.random.get_rng_state(), state[1])


# refusals


def lay_out(folder, places):
    """From "train/cat=4 train/dog=3 1.jpg": class folders with so many pictures, and single files."""
    for place in places.split():
        path, _, count = place.partition("=")
        if path.endswith((".txt", "/")):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).mkdir() if path.endswith("/") else (folder / path).touch()
        elif count:
            fill((folder / path).parent, **{path.rpartition("/")[2]: int(count)})
        else:
            save(folder / path, noise([*path.encode()]))
    return folder


ARGUMENTS = [
    (
        "unknown dataset 'hotdgo': did you mean 'hotdog'. There are vending, clothing, hotdog, cifar10, or the path",
        "hotdgo",
        {},
    ),
    ("unknown dataset 'no/where': .* path of a class folder", "no/where", {}),
    ("unknown dataset ''", "", {}),
    ("unknown dataset '3'", 3, {}),
    ("unknown split 'val': .* train, validation, test", "vending", {"split": "val"}),
    ("unknown domain 'shop': .* studio, showroom, new_packaging", "vending", {"domain": "shop"}),
    ("only vending has domains, got domain='shop' for 'hotdog'", "hotdog", {"domain": "shop"}),
    ("expected per_class as an integer of at least 1, got 0", "vending", {"per_class": 0}),
    ("expected size as an integer of at least 1, got '96'", "vending", {"size": "96"}),
    ("expected seed as an integer of at least 0, got None", "vending", {"seed": None}),
    ("expected split_seed as an integer from 0 to 4294967295", "vending", {"split_seed": 2**32}),
]

TEST, SPELLED = {"split": "test"}, "training/cat=3 testing/cat=3"

FOLDERS = [
    ("has no class folders: expected one folder with images for each class", "", {}),
    ("train has no class folders", "train/1.jpg test/2.jpg", {}),
    ("has no folder 'train' beside test: add it", "test/cat=4", {"split": "test"}),
    ("has no folder 'test' beside train, val: add it", "train/cat=4 val/cat=4", {"split": "test"}),
    ("two folders for validation, val and valid: keep one", "train/cat=1 val/cat=1 valid/cat=1", {}),
    ("class 'cat' has no images in .*train: add some, or remove", "train/cat/notes.txt test/cat=4", {}),
    (
        "test has no class folders: .* for each class; the 2 photos in it have",
        "train/cat=1 test/1.jpg test/2.jpg",
        TEST,
    ),
    ("test has no class folders: expected one folder with images", "train/cat=1 test/", TEST),
    ("class 'unknown' in .*test is unknown to train, which has cat", "train/cat=1 test/unknown=2", TEST),
    ("valid has no class folders: .*; the 1 photos", "train/cat=3 valid/1.jpg", {"split": "validation"}),
    (
        "has no folder 'train' with class .*, but testing .*rename it to test.*; training .*rename it to train",
        SPELLED,
        {},
    ),
    ("but Train_Data \\(no split: if it is one, rename it to train\\)", "Train_Data/cat=4", {}),
    ("splits test, train lie within a class .*: load .*archive, or", "archive/train/cat=1 archive/test/cat=1", {}),
    ("splits test, training lie .* such as train/cat", "cat/training/1.jpg cat/test/2.jpg", {}),
    ("splits test, train lie within .* load .*train, or put", "train/train/cat=1 train/test/cat=1", {}),
    ("has no folder 'test' .*; not read in .*: Testing .*rename it to test", "train/cat=3 Testing/cat=3", TEST),
    ("class 'eel' of train has no images in .*: add some", "train/cat=1 train/eel=3 test/cat=1", {"split": "test"}),
    ("class 'eel' in .*test is unknown to train, which has cat", "train/cat=1 test/cat=1 test/eel=1", {}),
    ("class 'cat' has 2 images in .*: an automatic split needs at least 3; add some, or make", "cat=2 dog=9", {}),
    ("class 'cat' has 2 images in .*train: an automatic", "train/cat=2 test/cat=2", {}),
    ("per_class of at most 3, the images of class 'dog', got 4", "train/dog=3 val/dog=1", {"per_class": 4}),
]


def refusal(name, **options):
    """The one sentence of the ValueError."""
    with pytest.raises(ValueError) as caught:
        load_dataset(name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("text, name, options", ARGUMENTS)
def test_wrong_arguments(tmp_path, text, name, options):
    assert re.search(text, refusal(name, root=tmp_path, **options))


@pytest.mark.parametrize("text, places, options", FOLDERS)
def test_wrong_folders(tmp_path, text, places, options):
    assert re.search(text, refusal(lay_out(tmp_path, places), **options))


def test_a_file_is_no_class_folder(hotdog_zip):
    assert re.search("hotdog.zip is a file, expected a class folder: if it is an archive, unpack", refusal(hotdog_zip))


def test_nothing_but_copies_cannot_be_split(tmp_path):
    for i in range(4):
        save(tmp_path / "cat" / f"{i}.png", noise(0))
    text = "class 'cat' has images of 1 kinds that are not near-duplicates, .* needs 3"
    assert re.search(text, refusal(lay_out(tmp_path, "dog=4")))


def test_files_that_cannot_be_read_are_named_together(tmp_path):
    test = fill_splits(tmp_path) / "test"
    (test / "cat" / "empty.png").touch()
    (test / "cat" / "text.jpg").write_text("no image")
    (test / "dog" / "photo.heic").write_bytes(b"1")
    names = r"cat.empty.png, cat.text.jpg, dog.photo.heic; repair, convert or remove them"
    text = rf"^3 of 10 files in \S*test cannot be read as images: {names} \(the first: \S*empty.png is not an image"
    assert re.search(text, refusal(tmp_path, split="test", size=8))
    for i in range(10):
        (test / "cat" / f"b{i}.png").touch()
    assert re.search("^13 of 20 files .*: cat.b0.png.*, cat.b9.png and 3 more; repair", refusal(tmp_path, split="test"))
    assert refusal(test).startswith("13 of 20 files")  # as they are compared, to be split
