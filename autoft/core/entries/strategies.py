"""Searchers (what to start) and schedulers (who goes on)."""

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

ENTRIES = (
    Entry(
        kind="searcher",
        name="tpe",
        target="autoft.strategies.tpe:TPE",
        description="Tree of Parzen estimators by hyperopt, fitted on the losses of one rung.",
        source="Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011",
        arguments=(
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
        ),
    ),
    Entry(
        kind="searcher",
        name="transfer",
        target="autoft.strategies.transfer:Transfer",
        description="What earlier searches found (--learn-from), corrected by the trials of this one.",
        source="Wistuba et al., Scalable Gaussian Process-Based Transfer Surrogates, Machine Learning 2018",
        arguments=(
            Argument(
                name="portfolio",
                type="int",
                default=8,
                low=0,
                description="Configurations good on many data sets that are tried first.",
            ),
        ),
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
        name="none",
        target="autoft.strategies.rungs:RunToEnd",
        description="Every trial runs to its last epoch.",
        source="autoft",
    ),
)
