"""The final test: of whom, by which attempts, and what came of it."""

from dataclasses import dataclass, field

from autoft.core.jsonable import Json
from autoft.engine.attempts import Attempts
from autoft.engine.job import Job
from autoft.engine.ledger import Ledger


@dataclass(kw_only=True, slots=True)
class FinalTest:
    """The test of the winner on rows that no trial has seen."""

    tested: str | None
    """The trial whose final test the record holds, if it has learned no more since."""
    metrics: Json | None = None
    """Of the test, if it was made in this run."""
    in_flight: bool = False
    """Whether a worker has it, or will get it."""
    attempts: Attempts = field(default_factory=Attempts)
    """What befell its workers in this run."""

    def begin(self, ledger: Ledger) -> Job:
        """Return the job that tests the winner."""
        self.in_flight = True
        trial = ledger.ranking()[0]
        entry = ledger[trial]
        return Job(
            kind="final", trial=trial, config=entry.config, epochs=tuple(epoch.to_json() for epoch in entry.epochs)
        )

    def forget(self, trial: str) -> None:
        """Take that a trial has learned more: what its test gave was of other weights."""
        if self.tested == trial:
            self.tested = None

    def end(self, trial: str, metrics: Json) -> None:
        """Take what the test of a trial gave."""
        self.tested, self.metrics = trial, metrics
