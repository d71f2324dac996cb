import numpy as np
import pytest
import torch

from autoft.core.errors import DataError, FormatError
from autoft.core.shelf import Shelf
from autoft.tasks import build_inputs

PREPROCESSING = {"kind": "image", "size": 4, "mean": [0.5, 0.25, 0.0], "std": [0.5, 0.25, 1.0]}


def one_value(content, size):
    return np.full((3, size, size), content, dtype=np.uint8)


def test_pictures_are_kept_as_bytes_in_order():
    inputs = build_inputs(PREPROCESSING)
    encoded = inputs.encode(iter([10, 20, 30]), one_value)
    (images,) = inputs.batch(encoded, range(3))
    assert images.dtype == torch.uint8
    assert images.shape == (3, 3, 4, 4)
    assert images[:, 0, 0, 0].tolist() == [10, 20, 30]
    assert encoded.nbytes == 3 * 48


def test_no_pictures_are_no_rows():
    inputs = build_inputs(PREPROCESSING)
    encoded = inputs.encode([], one_value)
    assert len(encoded) == 0
    assert inputs.batch(encoded, [])[0].shape == (0, 3, 4, 4)


def test_a_batch_is_a_copy_of_the_rows_asked_for():
    inputs = build_inputs(PREPROCESSING)
    encoded = inputs.encode([10, 20, 30], one_value)
    (images,) = inputs.batch(encoded, [2, 0, 2])
    assert images[:, 0, 0, 0].tolist() == [30, 10, 30]
    images.zero_()
    assert inputs.batch(encoded, torch.tensor([2]))[0].unique().tolist() == [30]


@pytest.mark.parametrize("row", [-1, 3])
def test_a_row_that_is_not_there_is_refused(row):
    inputs = build_inputs(PREPROCESSING)
    with pytest.raises(IndexError, match="There are 3 encoded rows"):
        inputs.batch(inputs.encode([10, 20, 30], one_value), [0, row])


def noise(content, size):
    return np.random.default_rng(content).integers(0, 256, (3, size, size), dtype=np.uint8)


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("batch_bytes", [1, 100, 2**20])
def test_pictures_mapped_from_the_shelf_are_those_in_memory(tmp_path, monkeypatch, threads, batch_bytes):
    monkeypatch.setattr("autoft.tasks.inputs.images.BATCH_BYTES", batch_bytes)
    inputs, beats = build_inputs(PREPROCESSING), []
    shelf = Shelf(tmp_path, limit_bytes=2**20, spare_bytes=0)

    def make(beat):
        return inputs.encode_batches(range(7), noise, threads=threads, heartbeat=lambda: beats.append(beat()))

    mapped = inputs.open(shelf.table({"a": 1}, inputs.schema, make))
    assert mapped.nbytes == 0
    assert len(beats) == 7
    rows = [5, 0, 6, 5, 3]
    (images,) = inputs.batch(mapped, rows)
    assert torch.equal(images, torch.from_numpy(np.stack([noise(row, 4) for row in rows])))
    assert torch.equal(images, inputs.batch(inputs.encode(range(7), noise), rows)[0])


@pytest.mark.parametrize("threads", [1, 4])
def test_the_first_picture_that_cannot_be_read_is_the_one_named(threads):
    def broken(content, size):
        if content % 10 == 3:
            raise DataError(f"picture {content}")
        return one_value(content, size)

    with pytest.raises(DataError, match="picture 3"):
        list(build_inputs(PREPROCESSING).encode_batches(range(40), broken, threads=threads))


@pytest.mark.parametrize("channels_last", [False, True])
def test_finished_pictures_are_normalised_by_channel(channels_last):
    inputs = build_inputs(PREPROCESSING)
    encoded = inputs.encode([0, 255], one_value)
    (images,) = inputs.finish(inputs.batch(encoded, [0, 1]), "cpu", channels_last=channels_last)
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    assert images[0, :, 1, 2].tolist() == pytest.approx([-1, -1, 0], abs=1e-6)
    assert images[1, :, 1, 2].tolist() == pytest.approx([1, 3, 1], abs=1e-6)


def test_finishing_changes_no_batch_and_gives_the_dtype_asked_for():
    inputs = build_inputs(PREPROCESSING)
    batch = inputs.batch(inputs.encode([7], one_value), [0])
    (images,) = inputs.finish(batch, torch.device("cpu"), torch.bfloat16)
    assert images.dtype == torch.bfloat16
    assert batch[0].unique().tolist() == [7]


def test_float_pictures_are_finished_without_being_changed():
    inputs = build_inputs(PREPROCESSING)
    batch = (torch.full((1, 3, 4, 4), 255.0),)
    assert inputs.finish(batch, "cpu")[0][0, 1, 0, 0].item() == pytest.approx(3)
    assert batch[0].unique().tolist() == [255.0]


def test_a_picture_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"\(3, 4, 4\) is needed, not \(3, 5, 5\)"):
        build_inputs(PREPROCESSING).encode([1], lambda content, size: one_value(content, size + 1))


def test_pictures_without_decode_are_refused():
    with pytest.raises(TypeError, match="decode"):
        build_inputs(PREPROCESSING).encode([1])


def test_unknown_kind_is_refused():
    with pytest.raises(FormatError, match="'sound'"):
        build_inputs({"kind": "sound"})
