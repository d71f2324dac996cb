import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autoft.augment import build_mixing
from autoft.augment.mixing import blend, draw_boxes, draw_lambdas, draw_partners, paste
from autoft.core import catalog, recipe
from autoft.core.errors import ConfigError

IMAGE, TEXT = "image-classification", "text-classification"
NAMES = [entry.name for entry in catalog.entries("mixing") if entry.name != "none"]
OF_PICTURES = [name for name in NAMES if IMAGE in catalog.entry("mixing", name).tasks]
SETTINGS = [(name, argument.name) for name in NAMES for argument in catalog.entry("mixing", name).arguments]
CHANGED = {"alpha": 5.0, "mixup_alpha": 5.0, "cutmix_alpha": 5.0, "cutmix_share": 0.1, "probability": 0.3}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(count=12, size=16):
    """Return pictures whose every pixel is the picture's number."""
    return torch.arange(count).float().view(-1, 1, 1, 1).expand(count, 3, size, size).clone()


def batch_for(name, count=12):
    if name in OF_PICTURES:
        return (pictures(count),)
    lengths = 3 + torch.arange(count) % 4
    mask = (torch.arange(6) < lengths.unsqueeze(1)).long()
    return (10 + torch.arange(count).unsqueeze(1) + torch.zeros(6, dtype=torch.int64)) * mask, mask


def mixed(name, count=12, seed=0, **changes):
    config = recipe.filled(recipe.BLOCKS["mixing"], {"name": name, **changes}, None)
    return build_mixing(config)(batch_for(name, count), torch.eye(max(count, 1))[:count], generator(seed))


def partners_and_shares(result):
    """Return each row's partner and own share, read off targets that were one-hot rows of all different labels."""
    own = result.targets_BC.diagonal()
    others = result.targets_BC - torch.diag(own)
    return others.argmax(dim=1), own


def values(result):
    """Return what tells two results apart: inputs, targets, and what becomes of embeddings."""
    found = [*result.inputs, result.targets_BC]
    if result.embed is not None:
        found.append(result.embed(torch.ones(*result.inputs[0].shape, 2)))
    return torch.cat([tensor.flatten().double() for tensor in found])


def test_none_is_no_mixing():
    assert build_mixing({"name": "none"}) is None


def test_unknown_mixing_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'mixup'"):
        build_mixing({"name": "mixupp"})


@pytest.mark.parametrize("name", NAMES)
def test_targets_are_probabilities_and_the_batch_is_not_changed(name):
    batch, result = batch_for(name), mixed(name)
    assert all(torch.equal(left, right) for left, right in zip(batch, batch_for(name), strict=True))
    assert [(t.shape, t.dtype) for t in result.inputs] == [(t.shape, t.dtype) for t in batch]
    assert result.targets_BC.dtype == torch.float32
    assert result.targets_BC.sum(dim=1).tolist() == pytest.approx([1.0] * 12)
    assert (result.targets_BC >= 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_every_row_has_a_partner_and_a_share_of_its_own(name):
    partners, shares = partners_and_shares(mixed(name, **{} if name == "mixup_cutmix" else {"alpha": 1.0}))
    assert sorted(partners.tolist()) == list(range(12))
    assert not (partners == torch.arange(12)).any()
    assert len(shares.unique()) >= 10


@pytest.mark.parametrize("name", NAMES)
def test_the_generator_alone_decides(name):
    torch.manual_seed(0)
    np.random.seed(0)
    first = values(mixed(name, seed=5))
    torch.manual_seed(1)
    np.random.seed(1)
    assert torch.equal(first, values(mixed(name, seed=5)))
    assert not torch.equal(first, values(mixed(name, seed=6)))


@pytest.mark.parametrize("name", NAMES)
def test_a_row_that_is_alone_stays_and_no_row_is_a_batch_too(name):
    assert torch.equal(mixed(name, 1).targets_BC, torch.eye(1))
    assert torch.equal(mixed(name, 1).inputs[0], batch_for(name, 1)[0])
    assert mixed(name, 0).targets_BC.shape == (0, 1)


@pytest.mark.parametrize(("name", "setting"), SETTINGS)
def test_every_setting_changes_the_batch(name, setting):
    argument = catalog.entry("mixing", name).argument(setting)
    assert argument.problem(argument.default) is None
    assert argument.problem(CHANGED[setting]) is None
    assert not torch.equal(values(mixed(name)), values(mixed(name, **{setting: CHANGED[setting]})))


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_mixed_at_the_probability_asked_for(name):
    changes = {"mixup_alpha": 1.0} if name == "mixup_cutmix" else {"alpha": 1.0}
    targets = mixed(name, 1000, probability=0.3, **changes).targets_BC
    # A box of less than one pixel leaves a picture as it is.
    assert (targets.diagonal() < 1).float().mean().item() == pytest.approx(0.3, abs=0.04)


def test_mixup_is_the_weighted_mean_of_pictures_and_of_labels():
    result = mixed("mixup", alpha=1.0)
    partners, shares = partners_and_shares(result)
    expected = shares * torch.arange(12) + (1 - shares) * partners
    (images,) = result.inputs
    assert torch.allclose(images, expected.view(-1, 1, 1, 1).expand_as(images), atol=1e-5)


def test_shares_are_from_the_beta_distribution():
    partners = draw_partners(20000, 1.0, generator())
    for alpha in (0.2, 1.0, 5.0):
        shares = draw_lambdas(partners, alpha, generator()).double()
        assert shares.mean().item() == pytest.approx(0.5, abs=0.01)
        # The variance of Beta(a, a) is 1 / (4 (2 a + 1)).
        assert shares.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)


@given(st.integers(2, 9), st.integers(0, 1000))
def test_partners_are_a_permutation_without_a_fixed_point(count, seed):
    partners = draw_partners(count, 1.0, generator(seed)).tolist()
    assert sorted(partners) == list(range(count))
    assert all(partner != row for row, partner in enumerate(partners))


def test_every_other_row_is_as_likely_a_partner():
    drawn = torch.stack([draw_partners(4, 1.0, generator(seed)) for seed in range(3000)])
    assert [(drawn[:, 0] == row).sum().item() / 3000 for row in (1, 2, 3)] == pytest.approx([1 / 3] * 3, abs=0.03)


@given(st.floats(0, 1), st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_a_box_lies_within_the_picture_and_is_no_larger_than_its_share(share, height, width, seed):
    top, bottom, left, right = draw_boxes(torch.tensor([share]), height, width, generator(seed)).squeeze(0).tolist()
    assert 0 <= top <= bottom <= height
    assert 0 <= left <= right <= width
    side = (1 - share) ** 0.5
    assert bottom - top <= side * height + 1
    assert right - left <= side * width + 1


def test_a_box_that_is_not_clipped_has_its_share_of_the_area():
    boxes = draw_boxes(torch.full((4000,), 0.75), 200, 100, generator()).double()
    top, bottom, left, right = boxes.unbind(1)
    is_whole = (top > 0) & (bottom < 200) & (left > 0) & (right < 100)
    # Half a side each: middles of a whole box are in the inner half of both sides.
    assert is_whole.double().mean().item() == pytest.approx(0.25, abs=0.02)
    assert (bottom - top)[is_whole].mean().item() == pytest.approx(100, abs=0.1)
    assert (right - left)[is_whole].mean().item() == pytest.approx(50, abs=0.1)
    # Clipped: the mean length over middles of the whole side is 1/2 - 2 * (1/4)^2 / 2 = 7/16 of it.
    assert (bottom - top).mean().item() == pytest.approx(200 * 7 / 16, rel=0.02)


def test_pixels_within_the_box_are_the_partners_and_labels_go_by_area():
    images, shares = paste(pictures(2, 8), torch.tensor([1, 0]), torch.tensor([[0, 2, 4, 8], [3, 3, 0, 8]]))
    expected = torch.zeros(8, 8)
    expected[0:2, 4:8] = 1
    assert torch.equal(images[0], expected.expand(3, 8, 8))
    assert torch.equal(images[1], torch.ones(3, 8, 8))
    assert shares.tolist() == [1 - 8 / 64, 1.0]


def test_cutmix_labels_are_the_shares_of_the_pixels():
    (images,), targets = mixed("cutmix").inputs, mixed("cutmix").targets_BC
    for picture, target in zip(images, targets, strict=True):
        assert target.tolist() == pytest.approx(
            (torch.bincount(picture[0].flatten().long(), minlength=12) / 256).tolist()
        )


@pytest.mark.parametrize("share", [0.01, 0.3, 0.99])
def test_a_share_of_the_rows_is_cut_and_the_others_are_blended(share):
    result = mixed("mixup_cutmix", 600, cutmix_share=share, mixup_alpha=1.0)
    (images,) = result.inputs
    partners, shares = partners_and_shares(result)
    rows = torch.arange(600).view(-1, 1, 1, 1)
    is_cut = ((images == rows) | (images == partners.view(-1, 1, 1, 1))).flatten(1).all(dim=1)
    assert is_cut.float().mean().item() == pytest.approx(share, abs=0.05)
    mean = images.mean(dim=(1, 2, 3))
    assert torch.allclose(mean, shares * rows.flatten() + (1 - shares) * partners, rtol=1e-3, atol=1e-2)


def test_a_mixed_text_attends_to_the_longer_of_two_and_takes_its_ids_at_the_end():
    ids, mask = batch_for("embedding_mixup")
    result = mixed("embedding_mixup", alpha=1.0)
    partners, _ = partners_and_shares(result)
    assert torch.equal(result.inputs[1], torch.maximum(mask, mask[partners]))
    assert torch.equal(result.inputs[0], torch.where(mask == 1, ids, ids[partners]))


def test_embeddings_of_two_texts_are_mixed_as_their_labels_with_zeros_for_padding():
    _, mask = batch_for("embedding_mixup")
    result = mixed("embedding_mixup", alpha=1.0)
    partners, shares = partners_and_shares(result)
    embeddings = torch.randn(12, 6, 5, generator=generator())
    padded = embeddings * mask.unsqueeze(-1)
    for row, partner in enumerate(partners.tolist()):
        expected = shares[row] * padded[row] + (1 - shares[row]) * padded[partner]
        assert torch.allclose(result.embed(embeddings)[row], expected, atol=1e-6)


def test_a_text_that_is_not_mixed_keeps_its_length():
    _, mask = batch_for("embedding_mixup", 200)
    result = mixed("embedding_mixup", 200, probability=0.5)
    is_alone = result.targets_BC.diagonal() == 1
    assert is_alone.sum() > 50
    assert torch.equal(result.inputs[1][is_alone], mask[is_alone])


def test_some_rows_by_themselves_are_mixed_with_the_same_partners():
    result = mixed("embedding_mixup", alpha=1.0)
    ids = result.inputs[0]
    embed = torch.nn.Embedding(int(ids.max()) + 1, 5)
    whole, rows = result.embed(embed(ids)), slice(7, 12)
    part = result.embed.of_rows(rows, ids, embed.forward)
    assert torch.equal(part(embed(ids[rows])), whole[rows])


def test_gradients_go_through_mixed_embeddings():
    embeddings = torch.ones(12, 6, 5, requires_grad=True)
    mixed("embedding_mixup").embed(embeddings).sum().backward()
    _, mask = batch_for("embedding_mixup")
    assert torch.equal(embeddings.grad.abs().sum(dim=2) > 0, mask == 1)


def test_a_row_that_is_its_own_partner_stays_exactly():
    rows = torch.randn(4, 7, generator=generator())
    assert torch.equal(blend(rows, torch.arange(4), torch.ones(4)), rows)
