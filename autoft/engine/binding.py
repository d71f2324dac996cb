"""Ray Tune's side: its searcher and its scheduler are one coordinator, asked for jobs and told what workers report."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from autoft.core.configs import Resources
from autoft.core.errors import AutoftError, DiskFullError, Interrupted, WorkError
from autoft.core.storage import Store
from autoft.engine.cluster import require_processes, trial_resources
from autoft.engine.coordinator import Coordinator
from autoft.engine.interruption import Interruption
from autoft.engine.job import Job, Report
from autoft.engine.losses import take_every_loss, why_lost
from autoft.engine.session import WorkerSetup, is_disk_full
from autoft.engine.trainable import JOB, REPORT, TrialWorker
from autoft.engine.triallog import take_hang

LOOK_SECONDS = 0.5
"""Between two looks at Ray's own processes."""


class _Ended(Exception):
    """Ends Ray Tune's loop; why, the coordinator knows."""


class Desk:
    """What searcher and scheduler share: the coordinator, and which job each of Tune's trials has."""

    def __init__(self, coordinator: Coordinator, store: Store) -> None:
        self.coordinator = coordinator
        self._store = store
        self._jobs: dict[str, Job] = {}

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
            if job is not None:
                self._jobs[tune_id] = job
            return job
        return None

    def report(self, tune_id: str, text: str) -> str:
        """Take a worker's report; return what Tune shall do."""
        report = Report.from_text(text)
        goes_on = False
        with self.guarded():
            goes_on = self.coordinator.reported(report)
        if report.discard_worker:
            return str(TrialScheduler.CONTINUE)  # the next step ends the process; see `TrialWorker.step`
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)

    def lose(self, trial: Trial) -> bool:
        """Take that a trial's worker is gone; return whether Tune shall try again, with a job that is up to date."""
        job = self._jobs[trial.trial_id]
        with self.guarded():
            again = self.coordinator.lost(
                job.trial,
                is_final=job.kind == "final",
                hung=take_hang(self._store, job.trial),
                reason=why_lost(trial),
            )
            if again and job.kind == "trial":
                self._jobs[trial.trial_id] = self.coordinator.job(job.trial)
                trial.set_config({JOB: self._jobs[trial.trial_id].to_text()})
            return again
        return False

    def tick(self) -> None:
        """Look at the clock and at what ends the search."""
        with self.guarded():
            self.coordinator.tick()

    def ray_works(self) -> bool:
        """Return whether it does; if not, its workers are gone and the search ends."""
        with self.guarded():
            require_processes(self._store.path())
            return True
        return False


class JobSearcher(Searcher):  # type: ignore[misc]
    """Hands out the coordinator's jobs."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk

    def suggest(self, trial_id: str) -> dict[str, str] | str | None:
        """Return the next job, None while there is none, or FINISHED."""
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
        return self._desk.report(trial.trial_id, result[REPORT])

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
    """Looks at the clock and at Ctrl-C between Tune's steps, and ends its loop at once when it must end."""

    def __init__(self, desk: Desk, interruption: Interruption) -> None:
        self._desk = desk
        self._interruption = interruption
        self._looked_at = 0.0

    def on_step_end(self, iteration: int, trials: Sequence[Trial], **info: Any) -> None:
        """Tick; end the loop on an interruption or an error, without waiting for epochs in flight."""
        self._desk.tick()
        if time.monotonic() - self._looked_at > LOOK_SECONDS:
            self._looked_at = time.monotonic()
            if not self._desk.ray_works():
                raise _Ended
        coordinator = self._desk.coordinator
        coordinator.interrupted |= self._interruption.is_requested
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
    desk = Desk(coordinator, worker.store)
    trainable = tune.with_resources(tune.with_parameters(TrialWorker, worker=worker), trial_resources(resources))
    try:
        tune.run(
            trainable,
            name="search",
            num_samples=-1,
            search_alg=JobSearcher(desk),
            scheduler=ReportScheduler(desk),
            callbacks=[Supervisor(desk, interruption), Silence()],
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
