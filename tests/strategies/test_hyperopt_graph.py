from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare, kstest

from autoft.core.seeds import generator
from autoft.space import Choice, IntLogUniform, IntUniform, LogNormal, LogUniform, Normal, SearchSpace, Uniform
from autoft.strategies.hyperopt_graph import Graph
from tests.strategies.worlds import branching_space, loss_of

DRAWS = 3000


def one(**sections):
    return Graph(SearchSpace(task="image-classification", backbone={"name": "timm:resnet18"}, **sections))


def draws(graph, label):
    found = [graph.draw(seed=seed).get(label) for seed in range(DRAWS)]
    return [value for value in found if value is not None]


def adamw(**settings):
    return {"optimizer": {"name": "adamw", **settings}}


def randaugment(domain):
    return {"augmentation": {"name": "randaugment", "magnitude": domain}}


def assert_even(values, expected):
    counts = Counter(values)
    assert set(counts) == set(expected)
    assert chisquare([counts[value] for value in expected]).pvalue > 1e-3


def test_labels_are_paths_with_their_branch():
    assert set(Graph(branching_space()).labels) == {
        "backbone",
        "backbone[timm:resnet34].drop_path",
        "finetune",
        "finetune[full].layer_decay",
        "optimizer",
        "optimizer[adamw].lr",
        "optimizer[sgd].lr",
        "optimizer[sgd].momentum",
        "augmentation",
        "augmentation[randaugment].magnitude",
        "batch_size",
    }


def test_a_draw_has_exactly_the_active_parameters():
    graph = Graph(branching_space())
    for seed in range(100):
        graph.space.validate(graph.draw(seed=seed))


def test_choices_are_even():
    assert_even(draws(one(batch_size=Choice([8, 16, 32, 64, 128])), "batch_size"), [8, 16, 32, 64, 128])


def test_choices_with_probabilities_have_them():
    shares = [0.6, 0.25, 0.15]
    graph = one(
        batch_size=Choice([8, 16, 32], probabilities=shares),
        optimizer=Choice(["adamw", "sgd", "lion"], probabilities=shares),
    )
    for label, values in (("batch_size", [8, 16, 32]), ("optimizer", ["adamw", "sgd", "lion"])):
        counts = Counter(draws(graph, label))
        assert chisquare([counts[value] for value in values], np.array(shares) * DRAWS).pvalue > 1e-3
    seen = [(graph.draw(seed=seed), float(seed)) for seed in range(20)]
    for seed in range(10):
        graph.space.validate(graph.suggest(seen, seed=seed))


def test_what_is_forbidden_is_neither_drawn_nor_suggested():
    graph = one(
        finetune=Choice([{"mode": "full"}, {"mode": "head"}]),
        batch_size=Choice([16, 32, 64]),
        forbid=[{"finetune.mode": "head", "batch_size": [16, 32]}],
    )
    found = [graph.draw(seed=seed) for seed in range(300)]
    for assignment in found:
        graph.space.validate(assignment)
    # The forbidden combination would be the best of all.
    seen = [(a, float(a["finetune"] == "full") + a["batch_size"] / 64) for a in found[:30]]
    for seed in range(20):
        graph.space.validate(graph.suggest(seen, seed=seed))


def test_branches_are_even_and_their_parameters_follow_them():
    graph = Graph(branching_space())
    found = [graph.draw(seed=seed) for seed in range(600)]
    assert_even([assignment["optimizer"] for assignment in found], ["adamw", "sgd"])
    assert all(("optimizer[sgd].momentum" in a) == (a["optimizer"] == "sgd") for a in found)


def test_whole_numbers_are_even_to_both_end_points():
    assert_even(draws(one(**randaugment(IntUniform(1, 6))), "augmentation[randaugment].magnitude"), [1, 2, 3, 4, 5, 6])


def test_stepped_numbers_are_even_to_both_end_points():
    values = draws(
        one(finetune={"mode": "full", "layer_decay": Uniform(0.6, 1.0, step=0.1)}), "finetune[full].layer_decay"
    )
    assert_even(values, [0.6, 0.7, 0.8, 0.9, 1.0])


def test_stepped_whole_numbers_are_even_to_both_end_points():
    assert_even(draws(one(**randaugment(IntUniform(1, 9, step=4))), "augmentation[randaugment].magnitude"), [1, 5, 9])


@pytest.mark.parametrize(
    ("domain", "label"),
    [
        (Uniform(1e-4, 1.0), "optimizer[adamw].lr"),
        (LogUniform(1e-5, 1e-1), "optimizer[adamw].lr"),
        (Normal(0.01, 0.005, bounds=(0.001, 0.012)), "optimizer[adamw].lr"),
        (LogNormal(-7.0, 1.0), "optimizer[adamw].lr"),
    ],
    ids=lambda value: getattr(value, "form", ""),
)
def test_continuous_numbers_have_the_distribution_of_the_space(domain, label):
    values = draws(one(**adamw(lr=domain)), label)
    assert kstest([domain.position(value) for value in values], "uniform").pvalue > 1e-3
    assert all(domain.contains(value) for value in values)


def test_the_normal_is_the_textbooks():
    values = np.array(draws(one(**adamw(lr=LogNormal(-7.0, 1.0))), "optimizer[adamw].lr"))
    assert kstest(np.log(values), "norm", args=(-7.0, 1.0)).pvalue > 1e-3


@pytest.mark.parametrize("domain", [IntLogUniform(1, 10), IntLogUniform(2, 5), Normal(4, 2, bounds=(1, 8), step=1)])
def test_uneven_grids_have_the_frequencies_of_the_space(domain):
    if isinstance(domain, Normal):
        graph, label = one(**adamw(lr=domain)), "optimizer[adamw].lr"
    else:
        graph, label = one(**randaugment(domain)), "augmentation[randaugment].magnitude"
    rng = generator(0, "reference")
    reference = Counter(graph.space.sample(rng)[label] for _ in range(20 * DRAWS))
    found = Counter(draws(graph, label))
    assert set(found) <= set(reference)
    expected = np.array([reference[value] for value in sorted(reference)], float) * DRAWS / (20 * DRAWS)
    assert chisquare([found[value] for value in sorted(reference)], expected).pvalue > 1e-3


def test_what_a_condition_rules_out_is_not_drawn():
    graph = one(
        finetune=Choice([{"mode": "head"}, {"mode": "full"}]),
        batch_size=Choice([16, 32, 64], when={"finetune.mode": "full"}),
    )
    found = [graph.draw(seed=seed) for seed in range(200)]
    assert {"batch_size" in assignment for assignment in found} == {True, False}
    assert all(("batch_size" in assignment) == (assignment["finetune"] == "full") for assignment in found)


def test_suggestions_are_plain_json_values_of_the_space():
    graph = Graph(branching_space())
    seen = [(graph.draw(seed=seed), float(seed)) for seed in range(30)]
    for seed in range(20):
        suggestion = graph.suggest(seen, seed=seed)
        graph.space.validate(suggestion)
        assert all(type(value) in (str, int, float) for value in suggestion.values())


def test_a_suggestion_depends_on_the_losses_and_the_seed_alone():
    graph, other = Graph(branching_space()), Graph(branching_space())
    seen = [(a, loss_of(a)) for a in (graph.draw(seed=seed) for seed in range(30))]
    assert graph.suggest(seen, seed=3) == graph.suggest(seen, seed=3) == other.suggest(seen, seed=3)
    assert graph.suggest(seen, seed=3) != graph.suggest(seen, seed=4)


def test_suggestions_gather_where_losses_are_low():
    graph = Graph(branching_space())
    seen = [(a, loss_of(a)) for a in (graph.draw(seed=seed) for seed in range(60))]
    suggested = np.mean([loss_of(graph.suggest(seen, seed=seed)) for seed in range(40)])
    assert suggested < 0.7 * np.mean([loss for _, loss in seen])


def test_end_points_that_were_tried_are_no_trouble():
    graph = one(**adamw(lr=LogUniform(1e-5, 1e-1), weight_decay=Uniform(0.0, 0.1)))
    corners = [
        ({"optimizer[adamw].lr": lr, "optimizer[adamw].weight_decay": decay}, lr)
        for lr in (1e-5, 1e-1)
        for decay in (0.0, 0.1)
    ]
    for seed in range(20):
        graph.space.validate(graph.suggest(corners * 3, seed=seed))


def test_a_space_of_one_constant_recipe_suggests_the_empty_assignment():
    assert one(batch_size=32).suggest([({}, 1.0)], seed=0) == {}
