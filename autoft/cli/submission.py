"""A search on the command line that is to run as a job: what `search` and `resume` do then."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from autoft.cli.live import watching
from autoft.core.errors import ConfigError

if TYPE_CHECKING:
    from autoft.api import SearchRequest
    from autoft.core.configs import Budget
    from autoft.jobs import JobInfo, JobServer


@dataclass(kw_only=True)
class Submission:
    """How the command after `--` is submitted: `submit` hands it to that command, which calls it and does not run."""

    server: "JobServer"
    arguments: Sequence[str]
    """Of the command after `--`."""
    code: Literal["package", "installed"]
    working_dir: Path | None
    python: str
    in_place: bool
    job: "JobInfo | None" = None
    """What was submitted."""

    def search(self, request: "SearchRequest", config: Path | None) -> None:
        """Submit a search."""
        from autoft import jobs

        if self.in_place:
            if config is not None:
                raise ConfigError("--config is a file of this machine, and --in-place reads none; give its options.")
            if request.address is not None:
                raise ConfigError("The search's own --address is that of the job's cluster; leave it out.")
            self.job = jobs.submit_in_place(
                self.arguments,
                request.out,
                self.server,
                code=self.code,
                working_dir=self.working_dir,
                python=self.python,
            )
            return
        with watching() as listener:
            self.job = jobs.submit(
                request,
                self.server,
                code=self.code,
                working_dir=self.working_dir,
                python=self.python,
                listener=listener,
            )

    def resume(self, run: str, budget: "Budget | None", address: str | None) -> None:
        """Submit going on with a run."""
        from autoft import jobs

        if address is not None:
            raise ConfigError("The resume's own --address is that of the job's cluster; leave it out.")
        if self.in_place:
            self.job = jobs.submit_in_place(
                self.arguments,
                run,
                self.server,
                command="resume",
                code=self.code,
                working_dir=self.working_dir,
                python=self.python,
            )
            return
        self.job = jobs.submit(
            run, self.server, budget=budget, code=self.code, working_dir=self.working_dir, python=self.python
        )


def line(command: str, job: str, address: str, *rest: str) -> str:
    """Return a command line about a job, as a person would type it."""
    return shlex.join(["autoft", command, job, *rest, "--address", address])
