"""Run a command on a Ray cluster while it has workers: ask for them, wait, run, and let them go again.

    python with_workers.py --cpus 16 -- autoft search data --address auto --out runs/data

A search counts its places side by side when it starts, so the workers must be there by then. What is asked for keeps
the autoscaler from removing idle workers until it is taken back, which happens however the command ends; only a kill
-9 of this program leaves it, and `python with_workers.py --release` takes it back. On a cluster without an autoscaler
(Slurm) it only waits.
"""

import argparse
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

import ray
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray.autoscaler.sdk import request_resources

POLL_SECONDS = 2.0


def main(argv: Sequence[str] | None = None) -> int:
    """Return the command's exit code; 1 if no worker came; 2 for a mistake in the arguments."""
    asked = parse(argv)
    # Ray looks the token up by itself only where RAY_ADDRESS is not set (ray 2.60).
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        if asked.release:
            return 0
        request_resources(bundles=[{"CPU": 1}] * asked.cpus + [{"GPU": 1}] * asked.gpus)
        if not wait(asked.cpus, asked.gpus, seconds=60 * asked.minutes):
            say("no worker came: the cloud has none to give, or the cluster's limit or your quota is reached")
            return 1
        return run(asked.command)
    finally:
        request_resources(bundles=[])
        ray.shutdown()


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments, the command among them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cpus", type=int, default=0, help="cores of all workers together")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs of all workers together")
    parser.add_argument("--minutes", type=float, default=15.0, help="after which it goes on with those that came")
    parser.add_argument("--release", action="store_true", help="only take back what a killed run asked for")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="after --")
    asked = parser.parse_args(argv)
    asked.command = asked.command[asked.command[:1] == ["--"] :]
    if not asked.release and not (asked.command and (asked.cpus > 0 or asked.gpus > 0)):
        parser.error("give --cpus or --gpus, and a command after --")
    return asked


def wait(cpus: int, gpus: int, *, seconds: float) -> bool:
    """Wait until the cluster has that much; return whether it has anything of it."""
    end = time.monotonic() + seconds
    shown = None
    while True:
        there = ray.cluster_resources()
        have = (int(there.get("CPU", 0)), int(there.get("GPU", 0)))
        if have != shown:
            say(f"{have[0]} of {cpus} cores and {have[1]} of {gpus} GPUs are there")
            shown = have
        if have[0] >= cpus and have[1] >= gpus:
            return True
        if time.monotonic() >= end:
            return have[0] > 0 and (have[1] > 0 or not gpus)
        time.sleep(POLL_SECONDS)


def run(command: Sequence[str]) -> int:
    """Run the command, hand on what asks it to end, and return its exit code."""
    with subprocess.Popen(command) as process:
        # The terminal sends Ctrl-C to the command as well, which saves its state and ends; a signal to this program
        # alone must be handed on.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda received, _: process.send_signal(received))
        code = process.wait()
    return code if code >= 0 else 128 - code


def _leave(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def say(line: str) -> None:
    """Write a line to stderr: stdout is the command's."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
