import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from autoft.augment import build_augmentation
from autoft.core import catalog
from autoft.core.errors import ConfigError

PAD, CLS, SEP, MASK = 0, 2, 3, 4
NAMES = [entry.name for entry in catalog.entries("augmentation") if "text-classification" in entry.tasks]


def tokenizer(mask="[MASK]"):
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", mask]
    result = Tokenizer(models.WordLevel({**{word: index for index, word in enumerate(special)}, "film": 5}, "[UNK]"))
    result.add_special_tokens([word for word in special if word != "not special"])
    result.add_tokens(["film"])
    return {"kind": "text", "tokenizer": result.to_str(), "pad_id": PAD}


TEXT = tokenizer()


def changed(name, batch, probability=0.1, seed=0):
    augmentation = build_augmentation({"name": name, "probability": probability}, TEXT)
    return augmentation(batch, torch.Generator().manual_seed(seed))


def texts(*lengths, copies=1):
    """Return rows of words 10, 11, ... between [CLS] and [SEP], padded to the longest."""
    rows = [[CLS, *range(10, 10 + length), SEP] for length in lengths] * copies
    longest = max(map(len, rows))
    ids = torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])
    return ids, (torch.arange(longest) < torch.tensor([[len(row)] for row in rows])).long()


def rows_of(batch):
    """Return the ids of each row that are no padding; padding must be one piece at the end."""
    ids, mask = batch
    assert (ids[mask == 0] == PAD).all()
    assert (mask.diff(dim=1) <= 0).all()
    return [row[: int(length)].tolist() for row, length in zip(ids, mask.sum(dim=1), strict=True)]


@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_dtypes_stay_and_the_batch_is_not_changed(name):
    batch = texts(38, 12, copies=8)
    after = changed(name, batch)
    assert [(t.shape, t.dtype) for t in after] == [(t.shape, t.dtype) for t in batch]
    assert all(torch.equal(left, right) for left, right in zip(batch, texts(38, 12, copies=8), strict=True))
    assert not torch.equal(after[0], batch[0])


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_a_batch_have_draws_of_their_own(name):
    ids, _ = changed(name, texts(38, copies=32))
    assert len(ids.unique(dim=0)) > 24


@pytest.mark.parametrize("name", NAMES)
def test_the_generator_alone_decides(name):
    batch = texts(38, copies=4)
    torch.manual_seed(0)
    first = changed(name, batch, seed=5)
    torch.manual_seed(1)
    global_state = torch.get_rng_state()
    assert all(torch.equal(left, right) for left, right in zip(first, changed(name, batch, seed=5), strict=True))
    assert torch.equal(global_state, torch.get_rng_state())
    assert not torch.equal(first[0], changed(name, batch, seed=6)[0])


@pytest.mark.parametrize("name", NAMES)
def test_the_probability_decides(name):
    batch = texts(38, copies=4)
    assert torch.equal(changed(name, batch, 0.0)[0], batch[0])
    assert not torch.equal(changed(name, batch, 0.1)[0], changed(name, batch, 0.5)[0])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 9), (0, 9), (3, 1), (2, 0)])
def test_any_number_of_rows_and_tokens_is_a_batch(name, shape):
    batch = torch.full(shape, 10), torch.ones(shape, dtype=torch.int64)
    assert changed(name, batch, 0.9)[0].shape == shape


@pytest.mark.parametrize("name", NAMES)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=5), st.floats(0, 0.9), st.integers(0, 99))
def test_special_tokens_and_padding_stay_what_they_are(name, lengths, probability, seed):
    for row, length in zip(rows_of(changed(name, texts(*lengths), probability, seed)), lengths, strict=True):
        assert (row[0], row[-1]) == (CLS, SEP)
        assert not {PAD, CLS, SEP} & set(row[1:-1])
        assert len(row) - 2 == length if name != "token_deletion" else min(1, length) <= len(row) - 2 <= length


def test_tokens_are_masked_at_the_rate_asked_for():
    ids, mask = texts(39, copies=200)
    masked, same_mask = changed("token_masking", (ids, mask), 0.3)
    is_masked = masked == MASK
    assert torch.equal(mask, same_mask)
    assert torch.equal(masked[~is_masked], ids[~is_masked])
    assert is_masked[:, 1:40].float().mean().item() == pytest.approx(0.3, abs=0.02)


def test_padding_that_is_a_word_too_is_left_alone():
    ids = torch.full((50, 20), 9)
    mask = (torch.arange(20) < 5).long().repeat(50, 1)
    masked, _ = changed("token_masking", (ids, mask), 0.9)
    assert (masked[:, :5] == MASK).any()
    assert (masked[:, 5:] == 9).all()
    _, kept = changed("token_deletion", (ids, mask), 0.9)
    assert kept.sum(dim=1).max() < 5


def test_a_tokenizer_without_a_mask_token_is_refused():
    with pytest.raises(ConfigError, match="tokenizer has none"):
        build_augmentation({"name": "token_masking", "probability": 0.1}, tokenizer(mask="not special"))


def test_the_mask_token_of_robertas_kin_is_known():
    augmentation = build_augmentation({"name": "token_masking", "probability": 0.9}, tokenizer(mask="<mask>"))
    batch = torch.full((4, 9), 5), torch.ones(4, 9, dtype=torch.int64)
    masked, _ = augmentation(batch, torch.Generator().manual_seed(0))
    assert masked.unique().tolist() == [MASK, 5]


def test_tokens_are_deleted_at_the_rate_asked_for_and_the_others_keep_their_order():
    rows = rows_of(changed("token_deletion", texts(39, copies=200), 0.3))
    assert all(row[1:-1] == sorted(row[1:-1]) for row in rows)
    assert sum(len(row) - 2 for row in rows) / (200 * 39) == pytest.approx(0.7, abs=0.02)


def test_of_a_text_that_would_lose_all_any_one_token_stays():
    rows = rows_of(changed("token_deletion", texts(3, copies=3000), 0.9))
    alone = [row[1] for row in rows if len(row) == 3]
    # Two of three are deleted with 3 * 0.9^2 * 0.1, all with 0.9^3.
    assert len(alone) / 3000 == pytest.approx(0.243 + 0.729, abs=0.01)
    assert all(alone.count(word) / len(alone) == pytest.approx(1 / 3, abs=0.03) for word in (10, 11, 12))


def test_tokens_change_places_at_the_rate_asked_for():
    batch = texts(40, copies=200)
    ids, mask = changed("token_swap", batch, 0.3)
    assert torch.equal(mask, batch[1])
    assert (ids != batch[0])[:, 1:41].float().mean().item() == pytest.approx(0.3, abs=0.02)


@given(st.integers(0, 9), st.floats(0, 0.9), st.integers(0, 99))
def test_swaps_are_exchanges_of_two_tokens(length, probability, seed):
    (row,) = rows_of(changed("token_swap", texts(length), probability, seed))
    places = [token - 10 for token in row[1:-1]]
    assert sorted(places) == list(range(length))
    assert all(places[places[index]] == index for index in range(length))


def test_every_pair_of_tokens_is_swapped_as_often():
    rows = rows_of(changed("token_swap", texts(4, copies=6000), 0.5))
    # Each of the 3 pairings, and of its 2 pairs each with 1/2: a pair of tokens is swapped with 1/6.
    swapped = [tuple(index for index in range(4) if row[1 + index] != 10 + index) for row in rows]
    for first in range(4):
        for second in range(first + 1, 4):
            both = sum(row[1 + first] == 10 + second for row in rows)
            assert both / 6000 == pytest.approx(1 / 6, abs=0.02)
    assert swapped.count(()) / 6000 == pytest.approx(1 / 4, abs=0.02)
