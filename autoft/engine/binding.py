"""Ray Tune's side: its searcher and its scheduler are one coordinator, asked for jobs and told what workers report."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from autoft.core.configs import Resources
from autoft.core.errors import AutoftError, DiskFullError, Interrupted, WorkError, is_disk_full
from autoft.core.storage import Store
from autoft.engine.cluster import require_processes
from autoft.engine.coordinator import Coordinator
from autoft.engine.demand import Demand
from autoft.engine.idle import keep_idle_workers
from autoft.engine.interruption import Interruption
from autoft.engine.job import Job, Report
from autoft.engine.keeping import FOLDER
from autoft.engine.losses import take_every_loss, why_lost
from autoft.engine.nodes import grows, is_gone, look, node_of
from autoft.engine.places import Node, Request, num_places
from autoft.engine.requests import Requests, typical
from autoft.engine.session import WorkerSetup
from autoft.engine.trainable import JOB, REPORT, TrialWorker
from autoft.engine.triallog import take_hang

LOOK_SECONDS = 1.0
"""Between two looks at Ray's own processes, and at the nodes."""
HEAD_SECONDS = 20.0
"""Without an answer from the cluster's head before the search ends; after 60 s Ray ends its process."""
NODE_SILENT = "it answers no more"
"""Why a worker was lost, where its node is."""
RECENT = 8
"""Trials by which it is told how much the next ones will ask for."""


class _Ended(Exception):
    """Ends Ray Tune's loop; why, the coordinator knows."""


class Desk:
    """What searcher and scheduler share: the coordinator, and which job each of Tune's trials has, and where."""

    def __init__(
        self, coordinator: Coordinator, store: Store, resources: Resources, *, interruption: Interruption
    ) -> None:
        self.coordinator = coordinator
        self.controller: Any = None
        """Tune's, once it has called."""
        self._store = store
        self._interruption = interruption
        self.ray_works = True
        """Whether Ray's own processes are there; if not, its workers are gone and the search ends."""
        self._jobs: dict[str, Job] = {}
        self._asked: dict[str, Request] = {}
        self._nodes: tuple[Node, ...] = ()
        self._leaving: frozenset[str] = frozenset()
        self._homes: dict[str, str] = {}
        self._moving: dict[str, bool] = {}
        self._demand = Demand()
        self._grows = False
        self._looked_at = float("-inf")
        self._answered_at = time.monotonic()
        self._requests = Requests(resources)
        # A worker's peak is that since it opened the trial, so that the last epoch tells it.
        for entry in coordinator.ledger.entries:
            if entry.epochs:
                self._requests.learn(entry.config, entry.epochs[-1].metrics)

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Keep an error for the end: Ray Tune would make text of it on its way through its loop."""
        try:
            yield
        except AutoftError as error:
            self.coordinator.stop_for(error)
        except OSError as error:
            if is_disk_full(error):
                text = f"No space left on the disk of {self._store.path()}: {error}. What was recorded is kept."
                self.coordinator.stop_for(DiskFullError(text))
            else:
                self.coordinator.stop_for(WorkError(f"The record in {self._store.path()} cannot be written: {error}."))

    def take_job(self, tune_id: str) -> Job | None:
        """Return a job for a new trial of Tune's, if there is one."""
        with self.guarded():
            job = self.coordinator.next_job()
            if job is None:
                return None
            asked = self._requests.of(job.config, self._nodes)
            self._asked[job.trial] = asked
            self._jobs[tune_id] = replace(job, gpus=asked.gpus, memory=asked.memory)
            return self._jobs[tune_id]
        return None

    def placed(self, trial: Trial) -> None:
        """Take that a trial has a worker, and where."""
        self._homes[trial.trial_id] = node_of(trial.temporary_state.ray_actor)

    def report(self, trial: Trial, text: str) -> str:
        """Take a worker's report; return what Tune shall do."""
        report = Report.from_text(text)
        goes_on = False
        with self.guarded():
            goes_on = self.coordinator.reported(report)
            if report.kind == "epoch":
                self._requests.learn(self.coordinator.ledger[report.trial].config, (report.result or {})["metrics"])
        if report.discard_worker:
            return str(TrialScheduler.CONTINUE)  # the next step ends the process; see `TrialWorker.step`
        if self._homes.get(trial.trial_id) in self._leaving and not self.coordinator.is_over:
            # The worker ends before its next step, and Tune takes it for lost; kept warm, it would hold its node.
            self._moving[trial.trial_id] = goes_on
            trial.temporary_state.ray_actor.leave.remote()
            return str(TrialScheduler.CONTINUE)
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)

    def lose(self, trial: Trial) -> bool:
        """Take that a trial's worker is gone; return whether Tune shall try again, with a job that is up to date."""
        job, home = self._jobs[trial.trial_id], self._homes.pop(trial.trial_id, None)
        with self.guarded():
            self._store.sweep(f"{FOLDER}/{job.trial}")
            if (went_on := self._moving.pop(trial.trial_id, None)) is not None:
                again = went_on and self.coordinator.moves(job.trial)
            else:
                with_node = is_gone(home) if home else False
                again = self.coordinator.lost(
                    job.trial,
                    is_final=job.kind == "final",
                    hung=take_hang(self._store, job.trial),
                    reason=NODE_SILENT if with_node else why_lost(trial),
                    with_node=with_node,
                )
            if again and job.kind == "trial":
                job = replace(self.coordinator.job(job.trial), gpus=job.gpus, memory=job.memory)
                self._jobs[trial.trial_id] = job
                trial.set_config({JOB: job.to_text()})
            return again
        return False

    def pulse(self) -> None:
        """Look at the clock, at Ctrl-C, and now and then at Ray; called many times a second."""
        self.coordinator.interrupted |= self._interruption.is_requested
        with self.guarded():
            self.coordinator.tick()
            if time.monotonic() - self._looked_at > LOOK_SECONDS:
                self._looked_at = time.monotonic()
                self.ray_works = False
                require_processes(self._store.path())
                self.ray_works = True
                self._look()

    def _leave_lost_head(self) -> None:
        """End the search; the sentence comes before Tune and Ray tidy up, for which they would wait for the head.

        Raises:
            WorkError: Always.
        """
        self.ray_works = False
        text = (
            f"The head of the Ray cluster has not answered for {HEAD_SECONDS:g} s; what was reached is kept. Go on, on "
            f"this cluster or another, with: autoft resume {self._store.uri or self._store.path()}"
        )
        self.coordinator.note(text)
        if self.controller is not None:
            self.controller.cleanup = lambda: None
        raise WorkError(text)

    def _look(self) -> None:
        """Look at the nodes: what they hold, which are about to go, and whether more could be used."""
        nodes = look()
        if nodes is None:
            if time.monotonic() - self._answered_at > HEAD_SECONDS:
                self._leave_lost_head()
            return
        self._answered_at = time.monotonic()
        self._nodes = nodes
        leaving = frozenset(node.name for node in nodes if node.leaves)
        if leaving - self._leaving and self.controller is not None:
            self.controller._cleanup_cached_actors(force_all=True)  # a warm worker may be there
        self._leaving = leaving
        entries = self.coordinator.ledger.entries
        asked = typical(self._requests.of(entry.config, nodes) for entry in entries[-RECENT:])
        asked = asked or self._requests.base(nodes)
        running = [
            self._asked.get(entry.view.trial, asked) for entry in self.coordinator.ledger.running if entry.in_flight
        ]
        self.coordinator.has_places(num_places(nodes, asked=asked, running=running))
        lacking = self.coordinator.num_lacking
        self._grows = self._grows or (lacking > 0 and grows())
        if self._grows:
            self._demand.want(lacking, asked)


class JobSearcher(Searcher):  # type: ignore[misc]
    """Hands out the coordinator's jobs."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk

    def suggest(self, trial_id: str) -> dict[str, str] | str | None:
        """Return the next job, None while there is none, or FINISHED."""
        self._desk.pulse()  # with no trial at all, Tune does nothing else
        job = self._desk.take_job(trial_id)
        if job is not None:
            return {JOB: job.to_text()}
        return str(Searcher.FINISHED) if self._desk.coordinator.is_over else None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Know it already: the scheduler was told."""

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the record is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: the record is the state."""


class ReportScheduler(TrialScheduler):  # type: ignore[misc]
    """Takes what workers report, and says who goes on."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._given_up: set[str] = set()

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """End a trial that comes back from a lost worker and is not to be tried again."""
        take_every_loss(tune_controller)
        keep_idle_workers(tune_controller)
        self._desk.controller = tune_controller
        if trial.trial_id in self._given_up:
            tune_controller.stop_trial(trial)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Take a lost worker.

        A worker that dies while it is given a new trial stays in Tune's list of resetting ones, and its trial would
        wait for ever (ray 2.60, TuneController._actor_failed): it is taken out here.
        """
        tune_controller._resetting_trials.discard(trial)
        if not self._desk.lose(trial):
            self._given_up.add(trial.trial_id)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Record what a worker reports, and decide."""
        return self._desk.report(trial, result[REPORT])

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Know it already: a trial ends by our own decision."""

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """Know it already: a trial ends by our own decision."""

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Leave the order to Tune: trials wait only for resources."""
        return None

    def debug_string(self) -> str:
        """Return what Tune would print."""
        return "autoft"


class Supervisor(tune.Callback):  # type: ignore[misc]
    """Looks at the clock, Ctrl-C and the nodes between Tune's steps, and ends its loop at once when it must end."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def on_trial_start(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        """Take where a trial is trained."""
        self._desk.placed(trial)

    def on_step_end(self, iteration: int, trials: Sequence[Trial], **info: Any) -> None:
        """Look; end the loop on an interruption or an error, without waiting for epochs in flight."""
        self._desk.pulse()
        if not self._desk.ray_works:
            raise _Ended
        coordinator = self._desk.coordinator
        if not coordinator.interrupted and coordinator.fatal is None:
            return
        for trial in trials:
            if trial.temporary_state.ray_actor is not None:
                ray.kill(trial.temporary_state.ray_actor)
        raise _Ended


class Silence(TrialProgressCallback):  # type: ignore[misc]
    """Takes the place of what Tune would print with, even with `verbose=0`, when a trial that failed is stopped."""

    def log_result(self, trial: Trial, result: dict[str, Any], error: bool = False) -> None:
        """Print nothing."""

    def on_trial_complete(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        """Print nothing."""


def _placed(resources: Resources) -> Callable[[dict[str, str]], tune.PlacementGroupFactory]:
    """Return what tells Tune, from a trial's job, what Ray shall set aside for it; its workers have theirs besides."""

    def place(config: dict[str, str]) -> tune.PlacementGroupFactory:
        job = Job.from_text(config[JOB])
        asked = {"CPU": resources.cpus_per_trial, "GPU": job.gpus, "memory": job.memory}
        if resources.workers_per_trial > 1:
            asked = {"memory": 1.0}  # Ray Tune asks for something; a byte is always there
        return tune.PlacementGroupFactory([{name: value for name, value in asked.items() if value}])

    return place


def run_tune(
    coordinator: Coordinator,
    worker: WorkerSetup,
    resources: Resources,
    *,
    folder: Path,
    interruption: Interruption,
) -> None:
    """Run a search on the Ray that this process uses, until the coordinator says that it is over.

    Args:
        coordinator: Decides and records.
        worker: What all workers get.
        resources: Of one trial.
        folder: For Tune's own state, which nobody will read again.
        interruption: Looked at between Tune's steps, so that no event is cut.

    Raises:
        AutoftError: What ended the search.
        Interrupted: On Ctrl-C.
    """
    desk = Desk(coordinator, worker.store, resources, interruption=interruption)
    trainable = tune.with_resources(tune.with_parameters(TrialWorker, worker=worker), _placed(resources))
    try:
        tune.run(
            trainable,
            name="search",
            num_samples=-1,
            search_alg=JobSearcher(desk),
            scheduler=ReportScheduler(desk),
            callbacks=[Supervisor(desk), Silence()],
            reuse_actors=True,
            max_failures=-1,
            storage_path=str(folder),
            trial_dirname_creator=lambda trial: str(trial.trial_id),
            trial_name_creator=lambda trial: str(trial.trial_id),
            verbose=0,
            raise_on_failed_trial=False,
        )
    except _Ended:
        pass
    except KeyboardInterrupt:
        coordinator.interrupted = True
    if coordinator.fatal is not None:
        raise coordinator.fatal
    if coordinator.interrupted:
        raise Interrupted("The search was interrupted.")
