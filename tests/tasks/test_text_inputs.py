import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from autoft.core.shelf import Shelf
from autoft.tasks import build_inputs
from autoft.tasks.inputs.texts import CHARACTERS_PER_TOKEN

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##a", "good", "bad", "film", "un", "##friend", "##ly"]
VOCABULARY = {word: index for index, word in enumerate(WORDS)}


def tokenizer(*, special=True):
    result = Tokenizer(models.WordPiece(VOCABULARY, unk_token="[UNK]", max_input_chars_per_word=1000))
    result.normalizer = normalizers.BertNormalizer(lowercase=True)
    result.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if special:
        result.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    return result


def inputs(max_length=6, **options):
    text = tokenizer(**options).to_str()
    return build_inputs({"kind": "text", "max_length": max_length, "tokenizer": text, "pad_id": 0})


def test_texts_are_token_ids_with_special_tokens():
    encoded = inputs().encode(["good film", "Unfriendly"])
    assert len(encoded) == 2
    assert encoded.row(0).tolist() == [2, 7, 9, 3]
    assert encoded.row(1).tolist() == [2, 10, 11, 12, 3]


def test_texts_are_truncated_and_keep_their_last_special_token():
    assert inputs().encode(["bad " * 50]).row(0).tolist() == [2, 8, 8, 8, 8, 3]


def test_a_batch_is_padded_to_its_longest_text():
    module = inputs()
    encoded = module.encode(["good film", "bad", "good good good good good"])
    ids, mask = module.batch(encoded, torch.tensor([1, 0]))
    assert ids.tolist() == [[2, 8, 3, 0], [2, 7, 9, 3]]
    assert mask.tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert ids.dtype == mask.dtype == torch.int64
    assert module.batch(encoded, [2])[0].shape == (1, 6)


def test_padding_is_with_the_models_id_whatever_the_tokenizer_says():
    source = tokenizer()
    source.enable_padding(length=20)
    source.enable_truncation(3)
    module = build_inputs({"kind": "text", "max_length": 6, "tokenizer": source.to_str(), "pad_id": 1})
    ids, _ = module.batch(module.encode(["good film bad", "bad"]), [0, 1])
    assert ids.tolist() == [[2, 7, 9, 8, 3], [2, 8, 3, 1, 1]]


def test_a_text_without_any_token_is_one_attended_padding():
    module = inputs(special=False)
    ids, mask = module.batch(module.encode(["", "bad"]), [0, 1])
    assert (ids.tolist(), mask.tolist()) == ([[0], [8]], [[1], [1]])


def test_no_texts_are_no_rows():
    assert len(inputs().encode([])) == 0


def test_more_texts_than_one_chunk_keep_their_order():
    texts = [" ".join(["good"] * (index % 4)) for index in range(2500)]
    encoded = inputs().encode(iter(texts))
    assert [len(encoded.row(index)) for index in range(2500)] == [2 + index % 4 for index in range(2500)]


@pytest.mark.parametrize("threads", [1, 3])
def test_texts_mapped_from_the_shelf_are_those_in_memory(tmp_path, threads):
    texts = [" ".join(["good", "film", "bad", "a"][: index % 5]) for index in range(5000)]
    module, beats = inputs(), []
    shelf = Shelf(tmp_path, limit_bytes=2**20, spare_bytes=0)

    def make(beat):
        return module.encode_batches(texts, threads=threads, heartbeat=lambda: beats.append(beat()))

    mapped = module.open(shelf.table({"a": 1}, module.schema, make))
    held = module.encode(texts)
    assert (mapped.nbytes, len(mapped), len(beats)) == (0, 5000, 5)
    assert torch.equal(module.lengths(mapped), module.lengths(held))
    assert module.lengths(mapped)[:6].tolist() == [2, 3, 4, 5, 6, 2]
    rows = [4999, 0, 1024, 1023, 0]
    for one, other in zip(module.batch(mapped, rows), module.batch(held, torch.tensor(rows)), strict=True):
        assert torch.equal(one, other)


def test_finishing_leaves_ids_and_mask_as_they_are():
    module = inputs()
    batch = module.batch(module.encode(["bad"]), [0])
    finished = module.finish(batch, "cpu", torch.bfloat16, channels_last=True)
    assert [tensor.tolist() for tensor in finished] == [[[2, 8, 3]], [[1, 1, 1]]]
    assert finished[0].dtype == torch.int64


@given(st.lists(st.sampled_from(["good", " " * 40, "a" * 70, "film", "\n", "zzz" * 30]), max_size=40).map(" ".join))
@settings(max_examples=60, deadline=None)
def test_the_cut_before_tokenising_changes_no_token(text):
    source = tokenizer()
    source.enable_truncation(6)
    assert inputs().encode([text]).row(0).tolist() == source.encode(text).ids


@pytest.mark.parametrize("text", ["good film " * 10_000, "a" * 100_000, " " * 100_000, "x y" + " " * 99_997])
def test_a_long_text_is_not_slow(text):
    module = inputs(max_length=128)
    start = time.process_time()
    encoded = module.encode([text] * 20)
    assert time.process_time() - start < 3
    assert len(encoded.row(19)) <= 128


def test_words_are_found_behind_a_long_blank():
    text = " " * (6 * CHARACTERS_PER_TOKEN + 1) + "good"
    assert inputs().encode([text]).row(0).tolist() == [2, 7, 3]
