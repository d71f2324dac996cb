"""Ray, local or existing: started quietly, and left as it was found."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ray
from ray._private import ray_constants
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray.tune.execution import class_cache

from autoft.core.configs import Resources
from autoft.core.errors import ConfigError, WorkError
from autoft.engine.machine import end_children, local_cpus, reach, scratch_folder
from autoft.engine.nodes import check_nodes

OBJECT_STORE_BYTES = 100 << 20
"""Of a local Ray: only configurations and numbers travel."""
ENVIRONMENT: Mapping[str, str] = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    "TUNE_MAX_PENDING_TRIALS_PG": "100000",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_STATE_REFRESH_PERIOD": "1000000",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "1000000",
    "TUNE_WARN_THRESHOLD_S": "1000000",
}
"""Ray reads these: no statistics sent, no output, no state of its own that we would trust, and no look of Tune's own at
the nodes, which would wait for a head that is lost until Ray ends the process."""


@contextlib.contextmanager
def connected(
    resources: Resources,
    address: str | None,
    *,
    starting: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
) -> Iterator[None]:
    """Have Ray: the one that this process already uses, an existing cluster, or a local one that ends with this.

    Args:
        resources: Of one trial.
        address: Of an existing cluster; None: a local Ray.
        starting: Held while Ray starts, which takes seconds and may be interrupted.

    Raises:
        ConfigError: If nobody, or somebody who is no Ray cluster of this version, listens at the address; or a trial
            asks for more than there is.
    """
    with _environment(), _quiet(), keys_left_out():
        if ray.is_initialized():
            _refuse_other(address)
            check_nodes(resources)
            yield
            return
        with contextlib.ExitStack() as stack:
            if address is None:
                folder = stack.enter_context(scratch_folder("autoft-ray-"))
                stack.callback(end_children, folder)
            stack.callback(ray.shutdown)
            try:
                with starting():
                    if address is None:
                        _start(folder)
                    else:
                        _join(reach(address))
            except SystemExit as error:  # Ray's own answer to SIGTERM while it starts
                raise KeyboardInterrupt from error
            check_nodes(resources)
            yield


def _refuse_other(address: str | None) -> None:
    """Refuse an address that is not of the Ray that this process uses: it would have no effect."""
    if address is None:
        return
    asked, used = reach(address), ray.get_runtime_context().gcs_address
    # One host may have several names; two clusters on one host have two ports.
    if asked.rpartition(":")[2] != used.rpartition(":")[2]:
        raise ConfigError(
            f"This process already uses the Ray at {used}, and the address asks for {asked}; call ray.shutdown() "
            "first, or leave the address out."
        )


def require_processes(run: str) -> None:
    """Find that a local Ray has lost the process that runs its workers; Ray itself would end the driver mutely.

    Args:
        run: The run folder, for the sentence that says how to go on.

    Raises:
        WorkError: If it has.
    """
    node = ray._private.worker._global_node
    if node is not None and any(name == "raylet" for name, _ in node.dead_processes()):
        raise WorkError(
            "Ray's process raylet on this machine was ended from outside, perhaps for want of memory; all that was "
            f"reached is kept. Go on with: autoft resume {run}"
        )


@contextlib.contextmanager
def keys_left_out() -> Iterator[None]:
    """Let Ray Tune hand no credentials of this process to its workers: each machine has its own.

    Tune gives workers the driver's AWS_SECRET_ACCESS_KEY and the like as a runtime environment, which Ray shows in
    command lines and in its logs (ray 2.60, tune.execution.class_cache).
    """
    former = class_cache.ENV_VARS_TO_PROPAGATE
    class_cache.ENV_VARS_TO_PROPAGATE = {name for name in former if not name.startswith("AWS_")}
    try:
        yield
    finally:
        class_cache.ENV_VARS_TO_PROPAGATE = former


def _start(folder: Path) -> None:
    """Start a Ray of this process's own, with its sockets and logs in `folder`."""
    with _on_loopback():
        ray.init(
            address="local",
            num_cpus=local_cpus(),
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=True,
            logging_level=logging.ERROR,
            object_store_memory=OBJECT_STORE_BYTES,
            _temp_dir=str(folder),
        )


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """Let a Ray that starts inside listen on 127.0.0.1, where no other machine can reach it.

    Ray 2.60 turns a loopback address that it is given into the machine's own; on macOS and Windows it takes loopback by
    this constant.
    """
    former = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = former


def _join(address: str) -> None:
    # A cluster of Ray 2.60 asks for a token, which Ray looks up by itself for the address "auto" alone.
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().split("\n", maxsplit=1)[0]
        raise ConfigError(
            f"Cannot join the Ray cluster at {address}: {reason} This process must run on one of its machines; from "
            "outside use `autoft submit`."
        ) from error


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Set what Ray reads from the environment, and put back what was there."""
    former = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in former.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Let Ray say nothing: what matters is in the record, and stdout is for results.

    The errors of its own processes it prints there even with `log_to_driver=False` (ray 2.60, listen_error_messages).
    """
    loggers: list[Any] = [logging.getLogger(name) for name in ("ray", "ray.tune", "ray.air", "ray.train")]
    former = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    printing = ray._private.worker.print_to_stdstream
    ray._private.worker.print_to_stdstream = lambda data, ignore_prefix: None
    try:
        yield
    finally:
        ray._private.worker.print_to_stdstream = printing
        for logger, level in zip(loggers, former, strict=True):
            logger.setLevel(level)
