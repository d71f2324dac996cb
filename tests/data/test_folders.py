import os

import pytest

from autoft.core.errors import DataError
from autoft.data.folders import is_hidden, read_folder, walk_files
from tests.data.making import class_folders, picture


def test_class_folders_give_labels_and_relative_names(tmp_path):
    part = read_folder(class_folders(tmp_path, {"cat": 2, "dog": 1})).parts["train"]
    assert list(part.names) == ["cat/000.png", "cat/001.png", "dog/000.png"]
    assert list(part.labels) == ["cat", "cat", "dog"]


def test_pictures_in_folders_of_a_class_folder_belong_to_the_class(tmp_path):
    class_folders(tmp_path, {"cat": 1, "dog/young": 1, "dog/old": 1})
    part = read_folder(tmp_path).parts["train"]
    assert list(part.labels) == ["cat", "dog", "dog"]


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train", "val", "test"), ["train", "val", "test"]),
        (("train", "valid"), ["train", "val"]),
        (("train", "validation"), ["train", "val"]),
        (("Train", "TEST"), ["train", "test"]),
    ],
)
def test_split_folders_are_known_by_their_names(tmp_path, names, splits):
    for name in names:
        class_folders(tmp_path / name, {"cat": 1, "dog": 1})
    folder = read_folder(tmp_path)
    assert list(folder.parts) == splits
    assert folder.has_splits


def test_a_class_called_train_is_a_class(tmp_path):
    folder = read_folder(class_folders(tmp_path, {"boat": 1, "train": 1}))
    assert not folder.has_splits
    assert list(folder.parts["train"].labels) == ["boat", "train"]


def test_splits_without_a_training_folder_are_no_classes(tmp_path):
    for split in ("val", "test"):
        class_folders(tmp_path / split, {"cat": 1, "dog": 1})
    with pytest.raises(DataError, match=r"has 'test' and 'val', but no 'train'"):
        read_folder(tmp_path)


def test_loose_pictures_in_train_and_test_are_no_classes(tmp_path):
    class_folders(tmp_path, {"train": 3, "test": 3})
    with pytest.raises(DataError, match=r"train' has 3 files but no class folders"):
        read_folder(tmp_path)


def test_a_folder_around_the_folder_of_classes_names_that(tmp_path):
    class_folders(tmp_path / "flowers", {"rose": 1, "tulip": 1})
    with pytest.raises(DataError, match=r"only one class, 'flowers'; .* give '.*flowers'"):
        read_folder(tmp_path)


def test_two_folders_for_one_split_are_refused(tmp_path):
    for name in ("train", "val", "valid"):
        class_folders(tmp_path / name, {"cat": 1, "dog": 1})
    with pytest.raises(DataError, match=r"two val folders, 'val' and 'valid'"):
        read_folder(tmp_path)


def test_a_folder_beside_the_splits_is_said_not_to_be_read(tmp_path):
    class_folders(tmp_path / "train", {"cat": 1, "dog": 1})
    class_folders(tmp_path / "unlabelled", {"all": 1})
    assert read_folder(tmp_path).warnings == ("The folder 'unlabelled' beside 'train' is not read.",)


def test_hidden_files_and_folders_are_ignored(tmp_path):
    class_folders(tmp_path, {"cat": 1, "dog": 1, ".git": 1, "__MACOSX": 1, "cat/.thumbs": 1})
    for name in (".DS_Store", "cat/.DS_Store", "cat/Thumbs.db"):
        (tmp_path / name).write_bytes(b"x")
    assert list(read_folder(tmp_path).parts["train"].names) == ["cat/000.png", "dog/000.png"]


def test_a_loose_picture_has_no_label_and_other_loose_files_are_no_data(tmp_path):
    class_folders(tmp_path, {"cat": 1})
    (tmp_path / "loose.png").write_bytes(picture(0))
    (tmp_path / "README.md").write_text("about")
    part = read_folder(tmp_path).parts["train"]
    assert dict(zip(part.names, part.labels, strict=True)) == {"cat/000.png": "cat", "loose.png": None}


def test_a_class_folder_without_files_is_reported(tmp_path):
    class_folders(tmp_path, {"cat": 1})
    (tmp_path / "dog").mkdir()
    assert read_folder(tmp_path).empty_classes == ("dog",)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"is empty; put one folder for each class"):
        read_folder(tmp_path)


def test_a_folder_of_loose_pictures_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(picture(0))
    with pytest.raises(DataError, match=r"1 file but no class folders"):
        read_folder(tmp_path)


def test_a_folder_of_tables_names_one_to_pass(tmp_path):
    (tmp_path / "rows.csv").write_text("text,label\n")
    with pytest.raises(DataError, match=r"but tables: pass one of them \('.*rows.csv'\)"):
        read_folder(tmp_path)


def test_a_split_without_class_folders_is_refused(tmp_path):
    class_folders(tmp_path / "train", {"cat": 1, "dog": 1})
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "a.png").write_bytes(picture(0))
    with pytest.raises(DataError, match=r"test' has 1 file but no class folders"):
        read_folder(tmp_path)


def test_linked_folders_are_followed_once(tmp_path):
    class_folders(tmp_path / "real", {"cat": 1})
    (tmp_path / "real" / "again").symlink_to(tmp_path / "real", target_is_directory=True)
    assert [file.name for file in walk_files(tmp_path / "real")] == ["000.png"]


def test_a_name_that_is_not_utf8_is_written_with_a_mark(tmp_path):
    class_folders(tmp_path, {"cat": 1})
    with open(os.fsencode(tmp_path / "cat") + b"/\xff.png", "wb") as file:  # noqa: PTH123 - a name no Path can spell
        file.write(picture(5))
    assert list(read_folder(tmp_path).parts["train"].names) == ["cat/000.png", "cat/?.png"]


def test_a_link_that_leads_back_above_the_class_is_not_followed(tmp_path):
    class_folders(tmp_path, {"cat": 1, "dog": 1})
    (tmp_path / "cat" / "up").symlink_to("..", target_is_directory=True)
    assert list(read_folder(tmp_path).parts["train"].names) == ["cat/000.png", "dog/000.png"]


@pytest.mark.parametrize(("name", "hidden"), [(".DS_Store", True), ("Thumbs.db", True), ("cat.png", False)])
def test_hidden_is_what_the_system_leaves_behind(name, hidden):
    assert is_hidden(name) is hidden
