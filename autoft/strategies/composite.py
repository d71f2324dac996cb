"""A searcher and a scheduler as one strategy: probes, the default recipe, what experience says, then the searcher."""

from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from autoft.core import catalog
from autoft.core.configs import StrategyConfig
from autoft.core.errors import ConfigError, WorkError, nearest
from autoft.core.jsonable import Json
from autoft.core.recipe import complete
from autoft.space import Choice, SearchSpace
from autoft.strategies import ranking
from autoft.strategies.affordable import TOO_SHORT, can_begin, why_no_epoch, without_unaffordable
from autoft.strategies.base import (
    Assignment,
    Continue,
    Decision,
    Done,
    History,
    Pause,
    Promotion,
    Scheduler,
    Searcher,
    Start,
    Stop,
    Strategy,
    TrialView,
    Verdict,
    Wait,
)
from autoft.strategies.costs import epoch_cost
from autoft.strategies.finalists import confirm, is_confirming, judge, searching
from autoft.strategies.one_thread import one_thread
from autoft.strategies.prior import from_portfolio
from autoft.strategies.promise import why_no_more

SLACK = 1.25
"""Times what the epochs so far let expect: later ones may take longer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Composite:
    """Decide, in this order: who of those that stand goes on, whether time is up, who of the paused, what to start.

    When no new trial will start, or the time left is what the best paused trial needs to its end, the scheduler is
    asked who of the paused goes on for the last time, and the default recipe is trained to its end: a search never
    returns less. A trial that is paused when nothing more can come is stopped, unless it is the time that is up: then a
    resume with more seconds may let it go on.

    Budget: `trials` counts what was started, probes left out. With `seconds` every decision grants one epoch, and only
    one that is expected to end in time; the first trial asked after the time is up stops, and the search is over with
    the longest epoch that was then in flight. Without it a decision grants all epochs up to the next rung.

    With `confirm`, room is kept for it in the budget, and when the search is over the finalists are trained again with
    other seeds; see `finalists`.
    """

    searcher: Searcher
    scheduler: Scheduler

    def next(self, history: History) -> Decision:
        """Return the next decision; the same for equal histories, on any number of cores."""
        with one_thread():
            return self._next(history)

    def _next(self, history: History) -> Decision:
        if not history.confirm:
            return self._search(history)
        standing = next((view for view in history.standing if view.kind == "confirm"), None)
        if standing is not None:
            return judge(history, standing)
        if is_confirming(history):
            return confirm(history, over="the search is over")
        decision = self._search(searching(history))
        return confirm(history, over=decision.reason) if isinstance(decision, Done) else decision

    def _search(self, history: History) -> Decision:
        """Decide on the search itself."""
        if standing := history.standing:
            return self._judge(history, standing[0])
        num_running = history.num_running
        if history.time_is_up:
            return _pause(num_running, "the time is up")
        if num_running >= history.slots:
            return Wait(reason=f"all {history.slots} slots are taken")
        return self._fill(without_unaffordable(history))

    def _fill(self, history: History) -> Decision:
        """Decide what a free slot is for."""
        rungs = self.scheduler.rungs(history.num_epochs)
        time_is_short = _time_is_short(history)
        no_more = _why_no_more(history)
        is_last_call = time_is_short or no_more is not None
        promotion = self.scheduler.promote(history, is_last_call=is_last_call)
        if promotion is None and is_last_call:
            promotion = _owed(history)
        started = None
        if promotion is None and time_is_short:
            promotion = _the_best(history)
        if promotion is None and (started := self._start(history, rungs, no_more)) is not None:
            if started.kind == "probe" or can_begin(history, started.epoch_cost):
                return started
            promotion = _the_best(history)
        if promotion is not None:
            granted = _granted(history, rungs, history.view(promotion.trial).epoch)
            return Continue(trial=promotion.trial, until_epoch=granted, reason=promotion.reason)
        if started is not None:
            return _pause(history.num_running, TOO_SHORT)
        if history.paused and not history.num_running:
            return Stop(trial=history.paused[0].trial, reason=f"{no_more}, and none that is paused is to go on")
        return _pause(history.num_running, str(no_more))

    def _judge(self, history: History, view: TrialView) -> Decision:
        if view.kind == "probe":
            return Stop(trial=view.trial, reason="a probe has one epoch")
        if view.epoch >= history.num_epochs:
            return Stop(trial=view.trial, reason=f"it has trained all {history.num_epochs} epochs")
        if why_not := why_no_epoch(history, view):
            return Stop(trial=view.trial, reason=why_not)
        rungs = self.scheduler.rungs(history.num_epochs)
        if view.epoch in rungs:
            verdict = self.scheduler.judge(history, view)
        else:
            verdict = Verdict(action="continue", reason=f"on its way to rung {_next_rung(rungs, view.epoch)}")
        if verdict.action == "stop":
            return Stop(trial=view.trial, reason=verdict.reason)
        if verdict.action == "pause":
            return Pause(trial=view.trial, reason=verdict.reason)
        return Continue(trial=view.trial, until_epoch=_granted(history, rungs, view.epoch), reason=verdict.reason)

    def _start(self, history: History, rungs: tuple[int, ...], no_more: str | None) -> Start | None:
        backbones = ranking.probe_order(history.space)
        if history.num_probes < len(backbones) and ranking.may_probe(history):
            return _probe(history, backbones[history.num_probes])
        if no_more is not None:
            return None
        if history.num_started == 0:
            return _trial(history, history.space.default(), rungs, "the space's default recipe is tried first")
        suggestion = from_portfolio(history) or self.searcher.suggest(history, rungs=rungs)
        return _trial(history, suggestion.assignment, rungs, suggestion.reason)


def build_strategy(searcher: StrategyConfig | Searcher, scheduler: StrategyConfig | Scheduler) -> Strategy:
    """Return the strategy that a searcher and a scheduler make together, each of the catalog or as it is.

    Raises:
        ConfigError: If a name or an option is unknown, or an option's value not allowed.
    """
    one, other = _build("searcher", searcher), _build("scheduler", scheduler)
    # What is both is one object, so that it works out once what both are asked.
    return Composite(searcher=other if one == other else one, scheduler=other)


def _build(kind: catalog.Kind, config: Any) -> Any:
    if not isinstance(config, StrategyConfig):
        return config
    entry = catalog.entry(kind, config.name)
    names = [argument.name for argument in entry.arguments]
    for name, value in config.options.items():
        argument = entry.argument(name)
        if argument is None:
            allowed = f"Allowed: {', '.join(names)}." if names else "It has no options."
            raise ConfigError(f"The {kind} {entry.name} has no option '{name}'.{nearest(name, names)} {allowed}")
        if problem := argument.problem(value):
            raise ConfigError(f"{kind} {entry.name}: option {name} {problem}.")
    return entry.load()(**config.options)


def _why_no_more(history: History) -> str | None:
    """Return, in words, why no new trial will start; None where one may."""
    if history.budget.trials is not None and history.num_started >= history.budget.trials:
        return f"all {history.budget.trials} trials of the budget were started"
    return why_no_more(history)


def _time_is_short(history: History) -> bool:
    """Return whether the time left is what the best paused trial needs for the epochs that it lacks."""
    limit, best = history.budget.seconds, _best_paused(history)
    if limit is None or best is None:
        return False
    needed = (history.num_epochs - best.epoch) * best.cost_seconds / best.epoch
    return limit - history.seconds_reserved - history.seconds_used <= SLACK * needed


def _best_paused(history: History) -> TrialView | None:
    """Return the paused trial of the best value; of equals, the one that was started earlier."""
    sign = -1.0 if history.objective.maximize else 1.0
    values = [(view.best(history.objective), view) for view in history.paused]
    able = [(sign * value, view) for value, view in values if value is not None]
    return min(able, key=itemgetter(0))[1] if able else None


def _the_best(history: History) -> Promotion | None:
    """Return the best of the paused, where there is no time for anything new."""
    best = _best_paused(history)
    reason = "the best of the paused, with no time left for a new one"
    return None if best is None else Promotion(trial=best.trial, reason=reason)


def _owed(history: History) -> Promotion | None:
    """Return the default recipe, if it is paused."""
    default = next((view for view in history.trials if view.kind == "trial"), None)
    if default is None or default.status != "paused":
        return None
    return Promotion(trial=default.trial, reason="the space's default recipe is trained to its end")


def _probe(history: History, backbone: Json) -> Start:
    # What the space says of batch norms in training is refused beside a backbone that is frozen.
    frozen = {"batch_norm": "pretrained"} if "batch_norm" in backbone else {}
    recipe = {"backbone": backbone | frozen, "finetune": {"mode": "probe"}}
    return Start(
        assignment=_backbone_assignment(history.space, backbone),
        kind="probe",
        until_epoch=1,
        reason=f"the frozen probe of {backbone['name']}: every backbone is probed first",
        recipe=recipe,
        epoch_cost=epoch_cost(complete(recipe, task=history.space.task)),
    )


def _backbone_assignment(space: SearchSpace, backbone: Json) -> Assignment:
    """Return the values of the backbone's parameters, and of no others, that give `backbone`."""
    defaults = {parameter.label: parameter.domain.default for parameter in space.parameters}
    branch = next((parameter for parameter in space.parameters if parameter.label == "backbone"), None)
    for label in branch.domain.values if branch and isinstance(branch.domain, Choice) else (None,):
        assignment = space.active(defaults if label is None else defaults | {"backbone": label})
        if space.recipe(assignment)["backbone"] == backbone:
            return {key: value for key, value in assignment.items() if key.partition("[")[0] == "backbone"}
    raise WorkError(f"The space's own backbone {backbone['name']} is none of its branches.")


def _trial(history: History, assignment: Assignment, rungs: tuple[int, ...], reason: str) -> Start:
    recipe = history.space.recipe(assignment)
    return Start(
        assignment=assignment,
        kind="trial",
        until_epoch=_granted(history, rungs, 0),
        reason=reason,
        recipe=recipe,
        epoch_cost=epoch_cost(complete(recipe, task=history.space.task)),
    )


def _granted(history: History, rungs: tuple[int, ...], epoch: int) -> int:
    """Return the epoch up to which a trial that has trained `epoch` may train before it is asked about again."""
    return epoch + 1 if history.budget.seconds is not None else _next_rung(rungs, epoch)


def _next_rung(rungs: tuple[int, ...], epoch: int) -> int:
    return next(rung for rung in rungs if rung > epoch)


def _pause(num_running: int, reason: str) -> Decision:
    if num_running:
        return Wait(reason=f"{reason}; {num_running} still in flight")
    return Done(reason=reason)
