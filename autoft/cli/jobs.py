"""`autoft submit`, `status`, `logs`, `stop` and `fetch`: a search as a job on a Ray cluster."""

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoft.cli import options, parsing
from autoft.cli.live import summary, watching
from autoft.cli.output import emit, print_table, say
from autoft.cli.results import print_leaderboard
from autoft.cli.search import print_result
from autoft.cli.submission import Submission, line
from autoft.core.errors import ConfigError, Interrupted, one_of

if TYPE_CHECKING:
    from autoft.jobs import JobServer, JobStatus

SUBMITTED = ("search", "resume")
"""Commands that a job can be of."""
_TOP = 10
"""Rows of the leaderboard that `status` shows."""

Job = Annotated[str, typer.Argument(metavar="JOB", help="Name of the job, as `autoft submit` printed it.")]
Address = Annotated[
    str,
    typer.Option(
        metavar="URL",
        help="The cluster's job server, which is its dashboard: http://HEAD:8265.",
        rich_help_panel=options.CLUSTER,
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="File with the cluster's token.",
        show_default="RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token",
        rich_help_panel=options.CLUSTER,
    ),
]


def submit(
    context: typer.Context,
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="-- search ... | -- resume RUN",
            help="The command to run on the cluster, with its own options, as it would be typed without `submit`.",
        ),
    ],
    *,
    address: Address,
    token_file: TokenFile = None,
    code: Annotated[
        str,
        typer.Option(
            parser=parsing.choice("package", "installed"),
            metavar="WHICH",
            help="package: autoft travels as it is installed here, the cluster needs its dependencies alone; "
            "installed: the cluster's own is used.",
            rich_help_panel=options.CLUSTER,
        ),
    ] = "package",
    working_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A folder of your own files, which travels as well; the job starts in it.",
            show_default="none",
            rich_help_panel=options.CLUSTER,
        ),
    ] = None,
    in_place: Annotated[
        bool,
        typer.Option(
            "--in-place",
            help="Read and send no data: DATA, --val, --test, --space and --out, or RUN, are paths or URIs that the "
            "cluster's nodes see.",
            rich_help_panel=options.DATA,
        ),
    ] = False,
    python: Annotated[
        str,
        typer.Option(
            metavar="COMMAND",
            help="What starts the cluster's Python, the one with Ray and autoft's dependencies.",
            rich_help_panel=options.CLUSTER,
        ),
    ] = "python",
    follow: options.Follow = False,
) -> None:
    """Run a search as a job on a Ray cluster, from anywhere that its dashboard can be reached.

    Everything is checked here first. The data and what else the search needs go, once, into the storage of its --out,
    which this machine and every node must be able to open: s3://, gs://, or the absolute path of a shared folder.
    """
    if arguments[0] not in SUBMITTED:
        raise ConfigError(f"A job can be of {one_of(SUBMITTED)}, not of '{arguments[0]}'.")
    server = _connect(address, token_file)
    submission = Submission(
        server=server,
        arguments=arguments[1:],
        code="installed" if code == "installed" else "package",
        working_dir=working_dir,
        python=python,
        in_place=in_place,
    )
    root = context.find_root().command
    root.main(args=arguments, prog_name="autoft", standalone_mode=False, obj=submission)
    info = submission.job
    if info is None:  # its help was asked for
        return
    emit(info.job)
    for command, rest in (("status", ()), ("logs", ("-f",)), ("fetch", ("--out", "DIR")), ("stop", ())):
        # Whether a run in place can be read from here is seen when it is there; `status` says it then.
        if command != "fetch" or not in_place:
            say(f"  {line(command, info.job, server.url, *rest)}")
    if follow:
        _follow(info.job, server)


def status(
    job: Annotated[
        str | None,
        typer.Argument(metavar="JOB", help="Name of the job.", show_default="all of autoft's jobs"),
    ] = None,
    *,
    address: Address,
    token_file: TokenFile = None,
    follow: options.Follow = False,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            parser=parsing.choice("table", "json"),
            metavar="FORM",
            help="table or json.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = "table",
) -> None:
    """Show a job's state, and how far its search is; without JOB, all jobs that autoft submitted to the cluster."""
    from autoft import jobs

    server = _connect(address, token_file)
    if job is None:
        if follow:
            raise ConfigError("--follow watches one job; name it.")
        _list(server, form)
        return
    if follow:
        if form == "json":
            raise ConfigError("--follow shows a table; leave out --format json.")
        _follow(job, server)
        return
    found = jobs.status(job, server)
    if form == "json":
        emit(json.dumps(found.to_json(), indent=2, ensure_ascii=False, allow_nan=False))
        return
    _print_status(found)
    if found.progress is not None and found.info.state == "succeeded":
        _say_fetch(job, server)


def logs(
    job: Job,
    *,
    address: Address,
    token_file: TokenFile = None,
    follow: options.FollowLog = False,
    trial: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="What this trial printed, such as t0003.",
            show_default="what the job printed",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
) -> None:
    """Show what a job, or one of its trials, has printed."""
    from autoft.jobs import watching as jobs

    server = _connect(address, token_file)
    info = server.info(job)
    if trial is not None:
        jobs.check_trial(info.run, trial)
        if not follow:
            emit(jobs.trial_log(info.run, trial).decode(errors="replace"))
            return
        with _detaching(job, server):
            for text in jobs.follow_trial_log(job, server, trial):
                _write(text)
        return
    if not follow:
        emit(server.log(job))
        return
    with _detaching(job, server):
        jobs.follow_log(job, server, _write)


def stop(
    job: Job,
    *,
    address: Address,
    token_file: TokenFile = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """End a job; its search saves its state first, and the line that goes on with it is shown."""
    from autoft.jobs import watching as jobs

    server = _connect(address, token_file)
    info = server.info(job)
    if info.has_ended:
        say(f"The job {job} has ended already: {info.state}.")
        _say_resume(jobs.seen(info), server)
        return
    if not yes:
        if not sys.stdin.isatty():
            raise ConfigError("`autoft stop` asks before it ends a job, and here is no terminal; give --yes.")
        typer.confirm(f"End the job {job}?", abort=True, err=True)
    say("Waiting until it has saved its state ...")
    info = jobs.stop(job, server)
    say(f"The job {job} has ended: {info.state}.")
    found = jobs.seen(info)
    say(found.note if found.progress is None else f"Kept: {summary(found.progress, found.progress.seconds_used)}")
    _say_resume(found, server)


def fetch(
    what: Annotated[
        str, typer.Argument(metavar="JOB|RUN", help="Name of a job; or where a run lies, such as s3://bucket/runs/a.")
    ],
    *,
    out: Annotated[
        str,
        typer.Option(
            metavar="DIR",
            help="New folder for the run, or the one that it was fetched into before.",
            rich_help_panel=options.OUTPUT,
        ),
    ],
    address: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The cluster's job server, http://HEAD:8265; needed for a JOB.",
            show_default="none",
            rich_help_panel=options.CLUSTER,
        ),
    ] = None,
    token_file: TokenFile = None,
) -> None:
    """Bring a run home and check every hash in it; also while it is searched in, and again for what is new."""
    from autoft import jobs

    is_run = "://" in what or "/" in what
    if is_run and (address is not None or token_file is not None):
        raise ConfigError(f"'{what}' is a run, which needs no --address and no --token-file; leave them out.")
    if not is_run and address is None:
        raise ConfigError(f"The cluster of the job '{what}' is not known; give --address http://HEAD:8265.")
    server = None if address is None else _connect(address, token_file)
    found = jobs.fetch(what, out, server=server)
    new = f"{found.num_new} of them new ({found.new_bytes / 2**20:.1f} MiB)"
    say(f"{found.num_files} files, {new}; every hash is right.")
    emit(found.folder)
    folder = shlex.quote(found.folder)
    say(f"  autoft leaderboard {folder}")
    if found.has_model:
        say(f"  autoft predict {shlex.quote(f'{found.folder}/best')} INPUT...")
    say(f"  autoft resume {folder} --address local")


def _connect(address: str, token_file: Path | None) -> "JobServer":
    from autoft import jobs

    server = jobs.connect(address, token_file=token_file)
    for warning in server.warnings:
        say(f"Warning: {warning}")
    return server


def _list(server: "JobServer", form: str) -> None:
    rows = [
        {
            "job": info.job,
            "state": info.state,
            "started": None if info.started is None else datetime.fromtimestamp(info.started).isoformat(" ", "seconds"),
            "run": info.run,
        }
        for info in server.jobs()
    ]
    if form == "json":
        emit(json.dumps(rows, indent=2, ensure_ascii=False))
    elif rows:
        print_table(rows)
    else:
        say(f"autoft has submitted no job to {server.url}.")


def _print_status(found: "JobStatus") -> None:
    info = found.info
    emit(f"{info.job}: {info.state}" + (f" ({info.message})" if info.message and info.state == "failed" else ""))
    emit(f"run: {info.run}")
    if found.progress is None:
        say(found.note)
        return
    emit(summary(found.progress, found.progress.seconds_used))
    board = f"`autoft leaderboard {shlex.quote(info.run)} --format csv`"
    print_leaderboard(list(found.progress.rows[:_TOP]), found.progress.within_noise, whole=board)


def _follow(job: str, server: "JobServer") -> None:
    """Watch a job until it ends, then show what it found, or how to go on; exits with 1 where it failed."""
    from autoft import api
    from autoft.jobs import watching as jobs

    with _detaching(job, server):
        if sys.stdout.isatty() and sys.stderr.isatty():
            with watching() as listener:
                info = jobs.wait(job, server, listener=listener)
        else:
            info = jobs.follow_log(job, server, sys.stderr.write)
    found = jobs.seen(info)
    if info.state == "succeeded":
        if found.progress is None:
            say(f"The job {job} has succeeded. {found.note}")
            return
        print_result(api.open_run(info.run))
        _say_fetch(job, server)
        return
    say(f"The job {job} has {info.state}" + (f": {info.message}" if info.message else "."))
    _say_resume(found, server)
    raise typer.Exit(1)


@contextmanager
def _detaching(job: str, server: "JobServer") -> Iterator[None]:
    """Let Ctrl-C end the watching alone, and say so."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(
            f"Detached; the job runs on. Watch it again with: {line('status', job, server.url, '-f')}"
        ) from None


def _say_fetch(job: str, server: "JobServer") -> None:
    say(f"Bring it home: {line('fetch', job, server.url, '--out', 'DIR')}")


def _say_resume(found: "JobStatus", server: "JobServer") -> None:
    """Say the line that goes on with a run: in place where it cannot be read from here; of no run where its log is."""
    from autoft.jobs import watching as jobs

    if not jobs.has_begun(found, server):
        log = line("logs", found.info.job, server.url)
        say(f"Its search had not begun, as far as can be seen from here. Its log: {log}")
        return
    given = ["--address", server.url, *(["--in-place"] if found.progress is None else [])]
    say(f"Go on with: {shlex.join(['autoft', 'submit', *given, '--', 'resume', found.info.run])}")


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
