"""The TorchTrainer of a trial, and how its workers find each other. Loads torch: only a trial's processes import it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.backend import Backend
from ray.train.torch import TorchConfig, TorchTrainer

from autoft.engine.session import WorkerSetup
from autoft.training import meeting


@dataclass
class MeetingConfig(TorchConfig):  # type: ignore[misc]
    """How the workers' processes find each other."""

    @property
    def backend_cls(self) -> type[Backend]:
        """What does it."""
        return Meeting


class Meeting(Backend):  # type: ignore[misc]
    """Lets workers meet at the first one's machine.

    Ray's own would listen at all addresses of that machine, and let gloo take the one that its name means.
    """

    share_cuda_visible_devices = True

    def on_start(self, worker_group: Any, backend_config: MeetingConfig) -> None:
        """Make a group of all workers."""
        addresses = worker_group.execute(ray.util.get_node_ip_address)
        port = worker_group.execute_single(0, meeting.listen, addresses[0])
        joining = [
            worker_group.execute_single_async(
                rank,
                meeting.meet,
                addresses[0],
                port,
                address,
                rank,
                len(addresses),
                on_gpus=backend_config.backend == "nccl",
                seconds=backend_config.timeout_s,
            )
            for rank, address in enumerate(addresses)
        ]
        ray.get(joining)


def fit(work: Callable[[dict[str, Any]], None], config: dict[str, Any], setup: WorkerSetup, *, folder: str) -> str:
    """Run `work` in every worker of a trial until it returns; return what went wrong, if anything did.

    Args:
        work: Gets `config`.
        config: Travels to every worker.
        setup: Says how many there are, and what each has.
        folder: For Ray Train's own state, which nobody will read.
    """
    trainer = TorchTrainer(
        work,
        train_loop_config=config,
        # A worker that waits for others is watched by them: this is only for what nobody watches.
        torch_config=MeetingConfig(timeout_s=int(4 * setup.hang_seconds) + 60),
        scaling_config=ScalingConfig(
            num_workers=setup.workers,
            use_gpu=setup.gpus > 0,
            resources_per_worker={"CPU": setup.cpus} | ({"GPU": setup.gpus} if setup.gpus else {}),
        ),
        run_config=RunConfig(name="trial", storage_path=folder, failure_config=FailureConfig(max_failures=0)),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        return str(error)
    return ""
