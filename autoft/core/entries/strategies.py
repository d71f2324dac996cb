"""Searchers (what to start) and schedulers (who goes on)."""

import dataclasses

from autoft.core.catalog import Argument, Entry

_HALVING = (
    Argument(
        name="grace",
        type="int",
        default=None,
        low=1,
        optional=True,
        description="First rung, in epochs; null: 3, at least a 27th and at most a third of the epochs.",
    ),
    Argument(
        name="reduction_factor",
        type="float",
        default=3.0,
        low=1,
        low_open=True,
        description="Of so many trials at a rung one goes on; rungs lie so many times apart.",
    ),
)

_CURVES = (
    _HALVING[0],
    dataclasses.replace(_HALVING[1], default=2.0, description="Rungs lie so many times apart."),
    Argument(
        name="startup",
        type="int",
        default=16,
        low=1,
        description="Trials, spread over the space, before the model chooses; at most half of the budget's.",
    ),
    Argument(
        name="candidates",
        type="int",
        default=128,
        low=2,
        description="New configurations that are considered, half of them near the best trials.",
    ),
)

_TPE = (
    Argument(
        name="startup",
        type="int",
        default=12,
        low=1,
        description="Trials at one rung before the model is used; until then the space is drawn from.",
    ),
    Argument(
        name="candidates",
        type="int",
        default=24,
        low=1,
        description="Draws from the good density, of which the best is suggested.",
    ),
    Argument(
        name="gamma",
        type="float",
        default=0.5,
        low=0,
        low_open=True,
        high=1,
        description="Of n trials, gamma times the root of n (at most 25) are taken for good.",
    ),
)

ENTRIES = (
    Entry(
        kind="searcher",
        name="tpe",
        target="autoft.strategies.tpe:TPE",
        description="Tree of Parzen estimators, fitted on the losses of one rung.",
        source="Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011",
        arguments=_TPE,
    ),
    Entry(
        kind="searcher",
        name="tpe-hyperopt",
        target="autoft.strategies.tpe_hyperopt:HyperoptTPE",
        description="The same by hyperopt, to compare.",
        source="Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011",
        arguments=_TPE,
    ),
    Entry(
        kind="searcher",
        name="grid",
        target="autoft.strategies.grid:Grid",
        description="Points of a grid, in an order that the seed gives.",
        source="autoft",
        arguments=(
            Argument(
                name="points",
                type="int",
                default=3,
                low=1,
                description="Values of each range, evenly through it; of a choice all are taken.",
            ),
        ),
    ),
    Entry(
        kind="searcher",
        name="curves",
        target="autoft.strategies.curves:Curves",
        description="What a model of the learning curves finds likeliest to pass the best soon.",
        source="Rakotoarison et al., In-Context Freeze-Thaw Bayesian Optimization, arXiv:2404.16795",
        arguments=_CURVES,
    ),
    Entry(
        kind="searcher",
        name="random",
        target="autoft.strategies.random:Random",
        description="Independent draws from the space.",
        source="Bergstra & Bengio, Random Search for Hyper-Parameter Optimization, JMLR 2012",
    ),
    Entry(
        kind="scheduler",
        name="asha",
        target="autoft.strategies.asha:Asha",
        description="Asynchronous successive halving: at each rung the best share of the trials so far goes on.",
        source="Li et al., A System for Massively Parallel Hyperparameter Tuning, arXiv:1810.05934",
        arguments=_HALVING,
    ),
    Entry(
        kind="scheduler",
        name="asha-promote",
        target="autoft.strategies.asha:AshaPromote",
        description="Asynchronous successive halving that pauses: at a rung trials wait until they are among the best.",
        source="Li et al., A System for Massively Parallel Hyperparameter Tuning, arXiv:1810.05934",
        arguments=_HALVING,
    ),
    Entry(
        kind="scheduler",
        name="hyperband",
        target="autoft.strategies.hyperband:Hyperband",
        description="Successive halving with several first rungs side by side.",
        source="Li et al., Hyperband, JMLR 2018",
        arguments=_HALVING,
    ),
    Entry(
        kind="scheduler",
        name="median",
        target="autoft.strategies.median:Median",
        description="A trial stops when its best is worse than the median of the others' at the same epoch.",
        source="Golovin et al., Google Vizier, KDD 2017",
        arguments=(
            _HALVING[0],
            Argument(name="fewest", type="int", default=3, low=1, description="Other trials that the median needs."),
        ),
    ),
    Entry(
        kind="scheduler",
        name="curves",
        target="autoft.strategies.curves:Curves",
        description="Each slot goes to what a model of the learning curves finds likeliest to pass the best soon.",
        source="Rakotoarison et al., In-Context Freeze-Thaw Bayesian Optimization, arXiv:2404.16795",
        arguments=_CURVES,
    ),
    Entry(
        kind="scheduler",
        name="none",
        target="autoft.strategies.rungs:RunToEnd",
        description="Every trial runs to its last epoch.",
        source="autoft",
    ),
)
