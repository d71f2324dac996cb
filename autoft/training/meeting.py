"""How the processes of a group find each other: through the addresses of their own machines alone."""

import fcntl
import os
import socket
import struct
from datetime import timedelta

from torch import distributed

_SIOCGIFADDR = 0x8915
"""netdevice(7): the IPv4 address of an interface."""
_listening: dict[int, socket.socket] = {}


def listen(address: str) -> int:
    """Listen at this machine's `address`, and at no other, for a group whose first process this is; return the port."""
    listener = socket.create_server((address, 0))
    port = int(listener.getsockname()[1])
    _listening[port] = listener
    return port


def meet(first: str, port: int, own: str, rank: int, size: int, *, on_gpus: bool, seconds: float) -> None:
    """Join a group as torch's default one; it talks by gloo on processors, and by NCCL on GPUs.

    Args:
        first: The address of the machine of the first process.
        port: What `listen` returned there.
        own: This machine's address.
        rank: This process's place.
        size: How many there are.
        on_gpus: Whether each has a GPU.
        seconds: The longest wait for the others.
    """
    name = interface_of(own)
    if name is not None:
        # By themselves they take what the host's name means, which may be another machine's loopback.
        os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = name
    waits = timedelta(seconds=seconds)
    # torch's own would listen at every address of the machine.
    listener = _listening.pop(port).detach() if rank == 0 else None
    store = distributed.TCPStore(  # type: ignore[attr-defined]
        first, port, size, is_master=rank == 0, timeout=waits, wait_for_workers=False, master_listen_fd=listener
    )
    backend = "cpu:gloo,cuda:nccl" if on_gpus else "gloo"
    distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=waits)


def leave() -> None:
    """Leave the group, if this process is in one."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def interface_of(address: str) -> str | None:
    """Return the network interface that has an IPv4 address; None where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(asking, _SIOCGIFADDR, struct.pack("256s", name.encode()))
            except OSError:  # it has no IPv4 address
                continue
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    return None
