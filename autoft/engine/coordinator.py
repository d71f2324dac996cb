"""What a search is, apart from who runs it: it asks the strategy, writes the record, and says what comes next.

Plain Python without Ray. The binding to Ray Tune calls it from one thread; each call records what it learns and what
is decided, durably, before it answers.
"""

import math
from collections.abc import Callable
from typing import Literal

from autoft.core.configs import EpochResult, SearchConfig, TrialStatus
from autoft.core.errors import AutoftError, DiskFullError, StorageError, WorkError
from autoft.core.jsonable import Json
from autoft.engine.attempts import MAX_LOSSES
from autoft.engine.chronicle import Chronicle, Journal
from autoft.engine.clock import Clock
from autoft.engine.final_test import FinalTest
from autoft.engine.held_back import HeldBack
from autoft.engine.job import LOW_MEMORY, Job, Report
from autoft.engine.ledger import Entry, Ledger, final_status
from autoft.engine.starting import first_config
from autoft.engine.turns import ArrivalTurns, Turns
from autoft.space import SearchSpace
from autoft.strategies import Continue, Decision, Done, History, Pause, Start, Stop, Strategy, TrialView, Wait
from autoft.strategies.advance import stopped_status, trial_name
from autoft.strategies.finalists import is_open

AHEAD = 16
"""Jobs that wait for a worker before those that follow are decided on: a thousand workers need not wait for all."""

Ending = Literal["searching", "testing", "over"]
MANY = 1000
"""Trials that a budget of time alone may still start, as far as places are asked for."""
NO_PLACE = "No node of the cluster holds a trial now; the search waits for one."


class Coordinator:
    """One search under way."""

    def __init__(
        self,
        search: SearchConfig,
        *,
        space: SearchSpace,
        strategy: Strategy,
        ledger: Ledger,
        journal: Journal,
        clock: Clock,
        slots: int,
        workers: int | None = None,
        turns: Turns | None = None,
        num_decisions: int = 0,
        tested: str | None = None,
        on_change: Callable[[str], None] = lambda line: None,
        on_places: Callable[[int], None] = lambda workers: None,
        on_finished: Callable[[], None] = lambda: None,
        on_tick: Callable[[], None] = lambda: None,
    ) -> None:
        """Take up a search where its ledger stands.

        Args:
            search: What was asked for.
            space: Its space.
            strategy: Decides.
            ledger: Trials so far; unfinished ones are started again first.
            journal: Gets every event.
            clock: Counts over all runs of this search.
            slots: Trials that may run side by side, as far as decisions know; a deterministic search keeps them.
            workers: Trials that can; None: as many.
            turns: Orders the answers of workers; None: as they arrive.
            num_decisions: Decisions that the record holds.
            tested: The trial whose final test the record holds.
            on_change: Called after every event that a person would see, with one line about it.
            on_places: Called with the number of trials that run side by side from now on, when that changes.
            on_finished: Called after every trial that ends.
            on_tick: Called with every tick.
        """
        self.ledger = ledger
        self.clock = clock
        self.slots = slots
        self.workers = slots if workers is None else min(slots, workers)
        self.ending: Ending = "searching"
        self.fatal: AutoftError | None = None
        self.interrupted = False
        self._search = search
        self._space = space
        self._strategy = strategy
        self._chronicle = Chronicle(journal, clock, num_decisions=num_decisions)
        self._final = FinalTest(tested=tested)
        self._on_change = on_change
        self._on_places = on_places
        self._on_finished = on_finished
        self._on_tick = on_tick
        self._turns = turns or ArrivalTurns()
        self._to_start: list[str] = []
        self._must_ask = True
        self._time_was_up = False
        self._held_back = HeldBack(clock, workers=self.workers)
        self._take_up()

    # What the binding asks.

    def next_job(self) -> Job | None:
        """Return what a free worker shall do, or None while there is nothing; see `is_over`."""
        if self.is_over:
            return None
        if self.ending == "searching":
            self._decide(ahead=AHEAD)
        if self.ending == "testing":
            return self._final_job()
        if not self._to_start or self.ledger.num_in_flight >= self.workers:
            return None
        trial = min(self._to_start, key=self._turns.urgency)
        self._to_start.remove(trial)
        self.ledger[trial].in_flight = True
        return self.job(trial)

    @property
    def test(self) -> Json | None:
        """The metrics of the final test, if it was made in this run."""
        return self._final.metrics

    @property
    def is_over(self) -> bool:
        """Whether no more work will come: done, failed for good, or interrupted."""
        return self.ending == "over" or self.fatal is not None or self.interrupted

    def job(self, trial: str) -> Job:
        """Return the job that trains a trial on from where it is known."""
        entry = self.ledger[trial]
        return Job(
            kind="trial",
            trial=trial,
            config=entry.config,
            epochs_recorded=self._epochs_known(trial),
            lost_to_memory=entry.lost_to_memory,
        )

    def goes_on(self, trial: str) -> bool:
        """Return whether a worker shall train another epoch of this trial now."""
        entry = self.ledger[trial]
        is_allowed = entry.view.is_running and self._epochs_known(trial) < entry.view.until_epoch
        return not self.is_over and entry.in_flight and is_allowed

    def reported(self, report: Report) -> bool:
        """Take a worker's answer; return whether it shall go on with the same job."""
        if self.is_over:
            return False
        if report.kind == "final":
            self._tested_winner(report)
            return False
        if report.kind == "failed" and (report.disk_full or report.store_lost or self._final.in_flight):
            self._failed_for_all(report)
            return False
        entry = self.ledger[report.trial]
        result = None if report.result is None else _result(report)
        if result is not None and result.epoch <= self._epochs_known(report.trial):
            return self.goes_on(report.trial)
        if result is not None:
            entry.attempts.get_on()
        if entry.view.is_running:
            self._turns.hear(report)
            self._take_turns()
        goes_on = result is not None and result.status == "running" and self.goes_on(report.trial)
        if not goes_on:
            entry.in_flight = False
        return goes_on

    def lost(self, trial: str, *, is_final: bool, hung: bool, reason: str, with_node: bool = False) -> bool:
        """Take that a worker is gone; return whether its job is to be tried again.

        Args:
            trial: What it trained or tested.
            is_final: Whether it was the final test.
            hung: Whether it was ended because it finished no batch in time.
            reason: Why it was lost, as far as that is known.
            with_node: Whether its node is gone, too; such a loss is no attempt of the trial's.
        """
        if self.is_over:
            return False
        hang = f"no batch finished in {self._search.resources.hang_seconds:g} s"
        if is_final:
            self._final.attempts.lose(with_node=with_node)
            if hung or self._final.attempts.failure:
                self._give_up(f"The final test of {trial} failed: {hang if hung else reason}.")
            return not self.is_over
        entry = self.ledger[trial]
        if not entry.view.is_running:
            entry.in_flight = False
            return False
        entry.attempts.lose(with_node=with_node)
        entry.lost_to_memory = reason == LOW_MEMORY
        if hung or entry.attempts.failure:
            failure = hang if hung else f"{entry.attempts.failure}: {reason}"
            entry.in_flight = False
            self._turns.hear(Report(kind="failed", trial=trial, reason=failure))
            self._take_turns()
            return False
        if with_node:
            self.note(f"The node of {trial} was lost ({reason}); it goes on elsewhere from its last checkpoint.")
            return True
        attempt = f"attempt {entry.attempts.losses + 1} of {MAX_LOSSES + 1}"
        self.note(f"The worker of {trial} was lost ({reason}); it is tried again from its last checkpoint, {attempt}.")
        return True

    def moves(self, trial: str) -> bool:
        """Take that a worker left its node, which is about to go, after an epoch; return whether its job goes on."""
        entry = self.ledger[trial]
        if not self.goes_on(trial):
            entry.in_flight = False
            return False
        epoch = self._epochs_known(trial)
        self.note(f"The node of {trial} is about to go; it goes on elsewhere after its epoch {epoch}.")
        return True

    def has_places(self, places: int) -> None:
        """Take how many trials the cluster holds side by side from now on; what that changes is recorded.

        A deterministic search keeps its logical slots, and only its workers change.
        """
        workers = min(places, self._search.resources.concurrent or places)
        slots = self.slots if self._search.deterministic else max(1, workers)
        workers = min(slots, workers)
        if self.is_over or (slots, workers) == (self.slots, self.workers):
            return
        self._chronicle.places(slots=slots, workers=workers)
        self._chronicle.flush()
        self.slots, self.workers = slots, workers
        self._must_ask = True
        self._on_places(workers)
        held = f"The nodes have changed: {workers} trials side by side from now on."
        self._on_change(held if workers else NO_PLACE)

    @property
    def num_lacking(self) -> int:
        """Return how many more trials would run at once if there were places for them, as far as the budget says."""
        running = len(self.ledger.running)
        if self.ending != "searching" or self.is_over or self.clock.time_is_up or running < self.workers:
            return 0
        most = self.slots if self._search.deterministic else running + self._num_to_start()
        return max(0, min(most, self._search.resources.concurrent or most) - self.workers)

    def tick(self) -> None:
        """Look at the clock; called many times a second."""
        self._count_idle()
        if not self.is_over:
            self._chronicle.tick()
        self._on_tick()
        if not self.workers and self.clock.time_is_up and not self.is_over:
            self._end_without_nodes()
        if self.ending == "searching" and not self.is_over and self.clock.time_is_up and not self._time_was_up:
            self._decide()

    def stop_for(self, error: AutoftError) -> None:
        """End the search for good; what the record holds stays."""
        if self.fatal is None:
            self.fatal = error

    # What happens.

    def _take_up(self) -> None:
        """Queue what an earlier run left unfinished, in the order in which it was started."""
        if self._search.budget.seconds is not None:
            self.ledger.ask_after_each_epoch()
        confirms = is_open(self._history())
        for entry in self.ledger.entries:
            for result in entry.epochs:
                self.clock.observe(result)
            trial, status = entry.view.trial, entry.view.status
            # An epoch was recorded, and then a kill came.
            if entry.view.kind == "probe" and status == "completed":
                self._set_status(trial, "probe", "its end was not recorded")
            if entry.breaks and entry.view.kind == "trial" and status in ("running", "paused", "completed"):
                self._end(trial, "pruned", entry.breaks)
                continue
            if status not in ("running", "paused") or entry.waits_for_promotion:
                continue
            if status == "paused" and confirms and entry.view.kind != "confirm":
                continue  # the search does not go on before it is confirmed
            if status == "paused":
                self._set_status(trial, "running", "taken up again")
            last = entry.epochs[-1] if entry.epochs else None
            if last is not None and last.status != "running":
                self._end(trial, final_status(entry.view, last), last.reason)
            else:
                self._to_start.append(trial)
        self._chronicle.flush()

    def _epochs_known(self, trial: str) -> int:
        """Return the epochs of a trial that are recorded, or wait for their turn."""
        return len(self.ledger[trial].epochs) + self._turns.num_heard(trial)

    def _take_turns(self) -> None:
        """Record, and decide on, every answer whose turn has come, once all is decided that came before."""
        self._decide()
        while not self.is_over and (report := self._turns.next()) is not None:
            if report.kind == "failed":
                self._end(report.trial, "failed", report.reason)
            else:
                self._add_epoch(report.trial, _result(report))
            self._decide()

    def _add_epoch(self, trial: str, result: EpochResult) -> None:
        entry = self.ledger[trial]
        if result.epoch != len(entry.epochs) + 1:
            self._end(trial, "failed", f"it reported epoch {result.epoch} after epoch {len(entry.epochs)}")
            return
        entry.config = result.config or entry.config
        entry.lost_to_memory = False
        result = self._chronicle.epoch(trial, result)
        self.clock.observe(result)
        self.ledger.add_epoch(trial, result)
        self._final.forget(trial)
        self._must_ask = True
        value = entry.view.values[-1]
        shown = "not finite" if value is None else f"{value:.4g}"
        self._on_change(f"{trial} epoch {result.epoch}: {self.ledger.objective.column} {shown}")
        if entry.breaks is not None and entry.view.kind == "trial":
            self._end(trial, "pruned", entry.breaks)
        elif result.status != "running":
            self._end(trial, final_status(entry.view, result), result.reason)
        elif not entry.view.stands:
            self._turns.begin(entry)

    def _failed_for_all(self, report: Report) -> None:
        """Take a failure that ends the search."""
        if report.disk_full:
            self.stop_for(
                DiskFullError(
                    f"No space left on the disk while {report.trial} was written ({report.reason}); all is kept."
                )
            )
        elif report.store_lost:
            self.stop_for(
                StorageError(f"{report.reason} It was asked for {report.trial}; all that was reached is kept.")
            )
        else:
            self._give_up(f"The final test of {report.trial} failed: {report.reason}")

    def _end(self, trial: str, status: TrialStatus, reason: str) -> None:
        """Give a trial that leaves its slot the status that it has from now on."""
        self._set_status(trial, status, reason)
        self._chronicle.flush()
        self.ledger[trial].in_flight = False
        self._turns.drop(trial)
        if trial in self._to_start:
            self._to_start.remove(trial)
        self._must_ask = True
        if len(self.ledger.objectives) > 1:
            self._chronicle.front(self.ledger.front())
        self._on_finished()
        self._on_change(f"{trial} {status}: {reason}")

    def _set_status(self, trial: str, status: TrialStatus, reason: str) -> None:
        self._chronicle.status(trial, status, reason)
        self.ledger.set_status(trial, status, reason)

    # Decisions.

    def _history(self) -> History:
        return self.ledger.history(
            self._space,
            budget=self._search.budget,
            slots=self.slots,
            seconds=(self.clock.seconds_used, self.clock.seconds_reserved),
        )

    def _decide(self, *, ahead: float = math.inf) -> None:
        """Ask the strategy until it waits, is done, or has `ahead` trials to start that no worker has taken yet."""
        is_up = self.clock.time_is_up
        if is_up and not self._time_was_up:
            self._time_was_up = self._must_ask = True
        while self._must_ask and self.ending == "searching" and not self.is_over and len(self._to_start) < ahead:
            history = self._history()
            decision = self._strategy.next(history)
            starts = trial_name(history, decision) if isinstance(decision, Start) else None
            self._chronicle.decision(
                decision,
                trial=starts or getattr(decision, "trial", None),
                logical=self._turns.now,
                seconds=None if history.budget.seconds is None else (history.seconds_used, history.seconds_reserved),
            )
            self._apply(decision, history)
        self._chronicle.flush()

    def _apply(self, decision: Decision, history: History) -> None:
        if isinstance(decision, Wait):
            if not history.running:
                raise WorkError(f"The strategy waits ({decision.reason}) while nothing runs.")
            self._must_ask = False
        elif isinstance(decision, Done):
            self._must_ask = False
            self._on_change(f"The search ends: {decision.reason}")
            self._finish_searching()
        elif isinstance(decision, Start):
            self._start(decision, trial_name(history, decision))
        elif isinstance(decision, Continue):
            entry = self.ledger[decision.trial]
            self.ledger.grant(decision.trial, decision.until_epoch)
            if entry.view.status == "paused":
                self._set_status(decision.trial, "running", decision.reason)
                self._on_change(f"{decision.trial} goes on: {decision.reason}")
            self._turns.begin(entry)
            if not entry.in_flight and decision.trial not in self._to_start:
                self._to_start.append(decision.trial)
        elif isinstance(decision, Pause):
            self._end(decision.trial, "paused", decision.reason)
        elif isinstance(decision, Stop):
            view = self.ledger[decision.trial].view
            self._end(decision.trial, stopped_status(history, view), decision.reason)

    def _start(self, decision: Start, trial: str) -> None:
        confirmed = None if decision.confirms is None else self.ledger[decision.confirms].config
        config = first_config(self._search, decision, trial=trial, confirmed=confirmed)
        self._chronicle.trial(trial, decision, config)
        view = TrialView(
            trial=trial,
            kind=decision.kind,
            assignment=dict(decision.assignment),
            until_epoch=decision.until_epoch,
            epoch_cost=decision.epoch_cost,
            confirms=decision.confirms,
        )
        self.ledger.add(entry := Entry(view=view, config=config))
        self._turns.begin(entry)
        self._to_start.append(trial)
        self._on_change(f"{trial} starts: {decision.reason}")

    def _num_to_start(self) -> int:
        """Return the trials that the budget still has."""
        trials = self._search.budget.trials
        return MANY if trials is None else max(0, trials - self.ledger.num_trials)

    # The end.

    def _count_idle(self) -> None:
        """Add up what workers could have done while an answer waited for its turn."""
        idle = max(0, self.workers - self.ledger.num_in_flight) if self._turns.holds_back else 0
        self._held_back.count(workers=self.workers, idle=idle)

    def _finish_searching(self) -> None:
        if self._turns.now is not None:
            self._count_idle()
            self.note(self._held_back.sentence)
        ranking = self.ledger.ranking()
        if not ranking:
            self._chronicle.clock()
            self.stop_for(WorkError(self.ledger.why_none_won()))
        elif self._final.tested == ranking[0]:
            self.ending = "over"
        else:
            self.ending = "testing"

    def _end_without_nodes(self) -> None:
        """End what waits for a node when the time is up: no epoch will come that would end it."""
        for entry in self.ledger.running:
            self._end(entry.view.trial, "paused", "the time is up")
        if self.ledger.ranking():
            self._decide()
        if not self.ledger.ranking() or self.clock.is_over:
            self._give_up(
                "The time is up, and no node of the cluster holds a trial or the final test; what was reached is kept. "
                "Go on with `autoft resume` and more time."
            )

    def _final_job(self) -> Job | None:
        if self._final.in_flight:
            return None
        job = self._final.begin(self.ledger)
        self._on_change(f"{job.trial} is the winner: it is tested on rows that no trial has seen")
        return job

    def _tested_winner(self, report: Report) -> None:
        metrics = report.result or {}
        self._chronicle.test(report.trial, metrics)
        self._final.end(report.trial, metrics)
        self.ending = "over"
        self._on_change(f"{report.trial} is tested")

    def _give_up(self, text: str) -> None:
        self.stop_for(WorkError(text))

    def note(self, text: str) -> None:
        """Record a sentence, and say it."""
        self._chronicle.note(text)
        self._on_change(text)


def _result(report: Report) -> EpochResult:
    return EpochResult.from_json(report.result or {}, where=f"the report of {report.trial}")
