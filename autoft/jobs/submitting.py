"""A run is laid where a cluster finds it, and a job submitted that searches in it."""

import dataclasses
import re
import secrets
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from autoft.api.folder import read_search
from autoft.api.laying import SearchRequest, lay
from autoft.api.request import grown
from autoft.api.searching import SUBMITTED_WITH
from autoft.core.configs import Budget
from autoft.core.errors import AutoftError, ConfigError, WorkError
from autoft.core.jsonable import Json
from autoft.core.progress import Listener
from autoft.core.remote import refuse_credentials
from autoft.core.storage import Store
from autoft.jobs.code import Code, staged
from autoft.jobs.server import RUN_KEY, JobInfo, JobServer

STOP_SECONDS = 60
"""How long a job that is asked to end may take to save its state, before Ray kills it; Ray's own default is 3."""
_NAME_LENGTH = 32
_NO_NAME = re.compile(r"[^a-z0-9]+")
_URI = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def submit(
    what: SearchRequest | str | Path,
    server: JobServer,
    *,
    budget: Budget | None = None,
    code: Code = "package",
    working_dir: str | Path | None = None,
    python: str = "python",
    listener: Listener | None = None,
) -> JobInfo:
    """Submit a search, or go on with a run, and return its job.

    Args:
        what: A search, whose data are read here and laid, packed, into the storage of its `out`; or the run of one that
            was laid before, on any cluster.
        server: Of the cluster; `connect` gives it.
        budget: Of a run: new totals, as `autoft.resume` takes them.
        code: "package": autoft travels as it is installed here; "installed": the cluster has it.
        working_dir: A folder of the person's own files, in which the job starts.
        python: The command on the cluster that starts the Python with Ray and autoft's dependencies.
        listener: Told about the data.

    Raises:
        UserError: If what was given cannot work; nothing is sent then.
        WorkError: If storage or server fail; a run that is laid is kept, and the text says how to go on with it.
    """
    run = run_address(what.out if isinstance(what, SearchRequest) else what)
    with staged(code, working_dir) as folder:
        if isinstance(what, SearchRequest):
            if what.address not in (None, "auto"):
                raise ConfigError(
                    f"The search's own address '{what.address}' would have no effect: its job runs on the cluster at "
                    f"{server.url}; leave it out."
                )
            lay(dataclasses.replace(what, address="auto"), listener=listener, elsewhere=True)
        else:
            _check_resume(run, server, budget)
        line = [python, "-m", "autoft", "resume", run, "--address", "auto", *_totals(budget)]
        try:
            return _submit(server, run, line, folder)
        except AutoftError as error:
            raise WorkError(
                f"{error} The run is laid; submit it with: autoft submit --address {server.url} -- resume "
                f"{shlex.quote(run)}"
            ) from error


def submit_in_place(
    arguments: Sequence[str],
    out: str | Path,
    server: JobServer,
    *,
    command: Literal["search", "resume"] = "search",
    code: Code = "package",
    working_dir: str | Path | None = None,
    python: str = "python",
) -> JobInfo:
    """Submit a job that runs `autoft search` or `resume` with these arguments, whose paths the cluster's nodes see.

    Args:
        arguments: Those of the command, without `--address`.
        out: Its run folder.
        server: Of the cluster.
        command: Which.
        code: As in `submit`.
        working_dir: As in `submit`.
        python: As in `submit`.

    Raises:
        UserError: If `out` is not a folder that all nodes can see, an argument holds credentials, or a job is searching
            in the run that is to be resumed.
        WorkError: If the server fails.
    """
    run = run_address(out)
    for argument in arguments:
        _refuse_credentials(argument)
    if command == "resume":
        _refuse_searched(run, server)
    with staged(code, working_dir) as folder:
        line = [python, "-m", "autoft", command, *arguments, "--address", "auto"]
        return _submit(server, run, line, folder, in_place=True)


def run_address(run: str | Path) -> str:
    """Return where a run lies, as every node of a cluster must be able to open it.

    Raises:
        ConfigError: If it is a path that is not absolute, or a URI with credentials.
    """
    text = str(run)
    if "://" not in text and not Path(text).is_absolute():
        raise ConfigError(
            f"The run '{text}' is a path of this machine alone; give storage that the cluster sees, such as "
            "s3://bucket/runs/name, or the absolute path of a folder that every node and this machine share."
        )
    _refuse_credentials(text)
    return text


def _refuse_credentials(text: str) -> None:
    """Refuse a text with a URI in it that holds credentials: the job server and the nodes' processes would show them.

    Raises:
        ConfigError: If there is one, or what it holds cannot be told; repeats nothing of it.
    """
    for start in _URI.finditer(text):
        try:
            parts = urlsplit(text[start.start() :])
        except ValueError:
            raise ConfigError(f"What is given behind '{start[0]}' cannot be read as an address; correct it.") from None
        refuse_credentials(parts)


def _check_resume(run: str, server: JobServer, budget: Budget | None) -> None:
    """Refuse to go on with what is no run, with less than before, or where a job is searching.

    Raises:
        UserError: Naming it.
    """
    config = read_search(Store.open(run), run)
    if budget is not None:
        grown(config, budget)
    _refuse_searched(run, server)


def _refuse_searched(run: str, server: JobServer) -> None:
    """Refuse a run that a job is searching in.

    Raises:
        ConfigError: Naming the job.
    """
    for info in server.jobs():
        if info.run == run and not info.has_ended:
            raise ConfigError(
                f"The job {info.job} is searching in '{run}'; wait until it ends, or end it with `autoft stop "
                f"{info.job} --address {server.url}`."
            )


def _totals(budget: Budget | None) -> list[str]:
    if budget is None:
        return []
    options = {"--trials": budget.trials, "--epochs": budget.epochs, "--time": budget.seconds}
    given = {name: value for name, value in options.items() if value is not None}
    return [text for name, value in given.items() for text in (name, f"{value:.15g}")]


def _submit(
    server: JobServer, run: str, line: Sequence[str], folder: Path | None, *, in_place: bool = False
) -> JobInfo:
    job = _job_name(run)
    given = shlex.join(["--address", server.url, *(["--in-place"] if in_place else [])])
    runtime_env: Json = {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS), SUBMITTED_WITH: given}}
    if folder is not None:
        runtime_env["working_dir"] = str(folder)
    server.submit(
        job,
        entrypoint=shlex.join(line),
        runtime_env=runtime_env,
        metadata={RUN_KEY: run, "autoft_version": version("autoft")},
    )
    return server.info(job)


def _job_name(run: str) -> str:
    """Return a new name that a person can read: of the run, the time and chance."""
    last = run.partition("?")[0].rstrip("/").rpartition("/")[2].lower()
    name = _NO_NAME.sub("-", last)[:_NAME_LENGTH].strip("-") or "run"
    return f"autoft-{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
