"""The class that Ray Tune runs: a thin shell around a session, kept warm from trial to trial."""

from typing import TYPE_CHECKING, Any

import ray
from ray import tune

from autoft.engine.job import Job
from autoft.engine.session import WorkerSession, WorkerSetup
from autoft.engine.threads import limit_threads

if TYPE_CHECKING:
    from autoft.engine.spread import SpreadSession

JOB = "job"
REPORT = "report"


class TrialWorker(tune.Trainable):  # type: ignore[misc]
    """One warm worker; a Tune step is one epoch.

    Ray's own checkpoints are not used: a trial goes on from its own, in the run folder, so a lost worker's trial
    needs nothing of Ray's state.
    """

    def setup(self, config: dict[str, Any], *, worker: WorkerSetup | None = None) -> None:
        """Bound the threads, before any library that reads them is imported, and take the first job."""
        if worker is None:
            raise ValueError("TrialWorker needs its setup: tune.with_parameters(TrialWorker, worker=...).")
        limit_threads(worker.cpus)
        self._is_spoiled = False
        self._session = _session(worker)
        self._session.take(Job.from_text(config[JOB]))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next job in the same process."""
        self._session.take(Job.from_text(new_config[JOB]))
        return True

    def step(self) -> dict[str, Any]:
        """Run one epoch, or the final test; a process that the last failure left in doubt ends instead."""
        if self._is_spoiled:
            ray.actor.exit_actor()
        report = self._session.step()
        self._is_spoiled = report.discard_worker
        return {REPORT: report.to_text()}

    def leave(self) -> None:
        """Close the trial's files and end this process: its node is about to go."""
        self._session.close()
        ray.actor.exit_actor()

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Save nothing here: checkpoints are the trial's own."""
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Load nothing here: the trial continues from its own checkpoint."""

    def cleanup(self) -> None:
        """Leave the trial."""
        self._session.close()


def _session(worker: WorkerSetup) -> "WorkerSession | SpreadSession":
    if worker.workers == 1:
        return WorkerSession(worker)
    from autoft.engine.spread import SpreadSession

    return SpreadSession(worker)
