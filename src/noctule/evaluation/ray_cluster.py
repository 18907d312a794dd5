"""Filling a run folder by tasks of Ray, on one machine or a cluster.

Each task claims slices of the run folder until none is missing, as the processes of one machine
do. Ray places the tasks, and starts one again whose process or machine failed; its unfinished
slices are computed by whoever is free. So the rows are those of any other way, to the byte.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import torch

from noctule import plugins
from noctule._version import __version__
from noctule.errors import InputError, MachineError, NoctuleError, NoctuleWarning
from noctule.evaluation.execution import torch_threads
from noctule.evaluation.machines import fill_part
from noctule.evaluation.settings import Progress
from noctule.evaluation.sharing import Shard
from noctule.evaluation.sources import ImageSource
from noctule.remote import AnyPath, refuse_private
from noctule.store import RunIdentity, RunStore
from noctule.store.identity import RUN_FILE

PREFIX = "ray"
# Ray starts a task again so often if its process or its machine fails.
RETRIES = 3
_POLL_S = 1.0
_CONNECT_LIMIT_S = 10
_CLIENT_PORT = 10001


class Node(NamedTuple):
    """What a machine of the cluster answers.

    Attributes:
        host: Its name.
        versions: Versions of noctule, Python and PyTorch.
        sees_run: Whether it sees the run folder.
    """

    host: str
    versions: tuple[str, str, str]
    sees_run: bool


VERSIONS = (__version__, platform.python_version(), torch.__version__)


@dataclass(frozen=True)
class RayTasks:
    """Tasks of Ray that fill a run folder together.

    Attributes:
        reopen: Called as `reopen(device)` in each task: the source of its images, with the
            classifier. It must be picklable.
        device: "cpu", or "cuda" for one GPU per task; that of this process, because the size of
            batches depends on it.
        address: "ray" for the cluster that the environment variable RAY_ADDRESS names, or a new
            one on this machine; or "ray://HOST[:PORT]".
    """

    reopen: Callable[[str], ImageSource]
    device: str
    address: str = PREFIX

    def fill(
        self, folder: AnyPath, identity: RunIdentity, shard: Shard, progress: Progress | None
    ) -> None:
        """Start the tasks, and wait until no slice of the shard is missing.

        Raises:
            InputError: The cluster cannot be reached, a machine has no or another noctule or
                does not see the run folder, or there is no GPU.
            NoctuleError: The first error in a task, which ends the others.
            MachineError: Processes ended again and again.
        """
        refuse_private(folder)
        with RunStore.writing(folder, identity) as (store, _), _connected(self.address) as ray:
            folder = folder.resolve()
            check_nodes(_ask_nodes(ray, folder), folder)
            cores, count = _shares(ray, self.device)
            resources: dict[str, Any] = {"num_cpus": cores}
            if self.device == "cuda":
                resources["num_gpus"] = 1
            task = ray.remote(_fill_in_task).options(max_retries=RETRIES, **resources)
            place, needed = str(Path.cwd()), plugins.in_use()
            tasks = [
                task.remote(self.reopen, folder, shard, self.device, cores, place, needed)
                for _ in range(count)
            ]
            _wait(ray, tasks, store, shard, progress)


def check_address(address: str) -> None:
    """Check that something answers at the address of a cluster.

    Raises:
        InputError: The address is not one, or nothing answers.

    >>> check_address("ray")
    >>> check_address("slurm")
    Traceback (most recent call last):
    noctule.errors.InputError: --on: 'slurm' is unknown. Use ray, or ray://HOST:PORT.
    """
    if address == PREFIX:
        return
    parts = urlsplit(address)
    if parts.scheme != PREFIX or not parts.hostname:
        raise InputError(
            f"{address!r:.60} is unknown", where="--on", remedy="Use ray, or ray://HOST:PORT."
        )
    try:
        place = (parts.hostname, parts.port or _CLIENT_PORT)
        socket.create_connection(place, _CONNECT_LIMIT_S).close()
    except (OSError, ValueError) as error:
        raise InputError(
            f"no Ray cluster answers: {error}",
            where=f"--on {address}",
            remedy="Check the address, and that `ray start --head` runs there with a client "
            f"server; its port is {_CLIENT_PORT} unless set.",
        ) from error


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Ray, connected to the cluster; disconnected afterwards unless it was connected before."""
    import ray

    if ray.is_initialized():
        yield ray
        return
    where = address if address != PREFIX else os.environ.get("RAY_ADDRESS")
    options: dict[str, Any] = {} if where else {"include_dashboard": False}
    try:
        ray.init(address=where, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (ConnectionError, ImportError, RuntimeError, ValueError) as error:
        raise InputError(
            f"Ray cannot be reached: {str(error).splitlines()[0]}",
            where=f"--on {address}",
            remedy="Check the address and `ray status`, or unset RAY_ADDRESS. Addresses that "
            "start with ray:// need: pip install 'ray[client]'",
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _ask_nodes(ray: Any, folder: AnyPath) -> list[Node]:
    """The answers of all machines of the cluster."""
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(_describe)
    alive = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    places = [NodeAffinitySchedulingStrategy(node, soft=False) for node in alive]
    try:
        return list(
            ray.get([
                ask.options(num_cpus=0, scheduling_strategy=place).remote(folder)
                for place in places
            ])
        )  # fmt: skip
    except RayError as error:
        last = str(error).strip().splitlines()[-1]
        raise InputError(
            f"a machine of the cluster cannot run noctule: {last}",
            where="--on",
            remedy=f"Install noctule {__version__} on all machines of the cluster.",
        ) from error


def _describe(folder: AnyPath) -> Node:
    return Node(platform.node(), VERSIONS, (folder / RUN_FILE).is_file())


def check_nodes(nodes: list[Node], folder: AnyPath) -> None:
    """Check that all machines of a cluster can take part.

    Raises:
        InputError: One has another version, or does not see the run folder.
    """
    names = ("noctule", "Python", "PyTorch")
    for node in nodes:
        for name, theirs, ours in zip(names, node.versions, VERSIONS, strict=True):
            if theirs != ours:
                raise InputError(
                    f"{node.host} has {name} {theirs}, and this machine has {ours}",
                    where="--on",
                    remedy="Install the same versions on all machines of the cluster.",
                )
        if not node.sees_run:
            raise InputError(
                f"{node.host} does not see the run folder",
                where=folder,
                remedy="Pass --out with a folder that all machines of the cluster share.",
            )


def _shares(ray: Any, device: str) -> tuple[int, int]:
    """Cores of each task, and the number of tasks."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cores = [int(resources.get("CPU", 0)) for resources in alive]
    if device != "cuda":
        each = min((count for count in cores if count), default=1)
        return each, max(1, sum(count // each for count in cores))
    gpus = [int(resources.get("GPU", 0)) for resources in alive]
    if not any(gpus):
        raise InputError(
            "the cluster has no GPU", where="--on", remedy="Use --device cpu, or add machines."
        )
    each = min(have // used for have, used in zip(cores, gpus, strict=True) if used)
    return max(1, each), sum(gpus)


def _fill_in_task(
    reopen: Callable[[str], ImageSource],
    folder: AnyPath,
    shard: Shard,
    device: str,
    cores: int,
    place: str,
    needed: tuple[plugins.Plugin, ...],
) -> None:
    """The work of one task, whose process may have done others before."""
    with contextlib.suppress(OSError):
        os.chdir(place)  # for relative paths of models and data
    if place not in sys.path:
        sys.path.insert(0, place)  # for models of the working directory, as on the driver
    plugins.load_in_worker(needed)
    name = "cuda:0" if device == "cuda" else device  # Ray hides the other GPUs
    with torch_threads(cores), warnings.catch_warnings():
        warnings.simplefilter("ignore", NoctuleWarning)  # the driver has shown them
        fill_part(reopen, folder, 1, shard, torch.device(name), lambda report: None)


def _wait(
    ray: Any, tasks: list[Any], store: RunStore, shard: Shard, progress: Progress | None
) -> None:
    """Wait for the tasks, and show what is finished."""
    from ray.exceptions import RayError, RayTaskError

    identity, waiting = store.identity, tasks
    outcomes = len(identity.conditions)
    total = sum(len(identity.images_of(i)) for i in shard.part_of(range(identity.num_slices)))
    try:
        while waiting:
            done, waiting = ray.wait(waiting, timeout=_POLL_S)
            ray.get(done)
            if progress:
                missing = shard.part_of(store.missing_slices())
                left = sum(len(identity.images_of(index)) for index in missing)
                progress((total - left) * outcomes, total * outcomes)
    except RayTaskError as error:
        if isinstance(error.cause, NoctuleError):
            raise error.cause from None
        raise  # a bug, with the traceback of the task
    except RayError as error:
        last = str(error).strip().splitlines()[-1]
        raise MachineError(
            f"a process or machine of Ray failed {RETRIES + 1} times: {last}",
            remedy="See the logs of Ray. Finished work is kept: rerun the same command to "
            "resume.",
        ) from error
    finally:
        for task in waiting:
            ray.cancel(task, force=True)
