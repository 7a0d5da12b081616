"""Several processes: starting them on this machine, and sharing an evaluation out among them.

accelerate finds the variables that are set here, as it finds those that `accelerate launch` or `torchrun` set.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

from bertft import signals
from bertft.console import command
from bertft.errors import UsageError
from bertft.inference.engine import Engine

_STARTER = "BERTFT_STARTER"
_POLL_SECONDS = 0.1
_GRACE_SECONDS = 3.0


def is_started() -> bool:
    """Say whether this process is one of several already."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def start(arguments: Sequence[str], processes: int, *, device: str) -> int:
    """Run `bertft` with `arguments` in several processes and return the exit code: the first that is not 0.

    The first process speaks; what another says is shown if it is the one that fails. Where one fails, all are stopped.
    Raises UsageError where there are fewer GPUs than processes.
    """
    import torch

    from bertft.inference.pytorch import choose_device

    if is_started():
        raise UsageError("--processes: this is one of several processes already", help="leave it to their launcher")
    shared = {
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "BERTFT_COMMAND": json.dumps(command() or arguments),
        _STARTER: str(os.getpid()),
    }
    # torch warns where every weight is used, which Trainer does not take for granted
    shared["TORCH_CPP_LOG_LEVEL"] = os.environ.get("TORCH_CPP_LOG_LEVEL", "ERROR")
    kind = choose_device(device).type
    if kind == "cuda" and (device != "auto" or torch.cuda.device_count() < processes):
        fact = f"{processes} processes take a GPU each; there are {torch.cuda.device_count()}"
        raise UsageError(fact, help="`--device auto` takes all that there are, `--device cpu` none")
    if kind == "cpu":
        threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // processes))
        shared |= {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": threads}
    with signals.deferred("", last=False) as request:
        return _run(arguments, processes, {**os.environ, **shared}, request)


def _run(arguments: Sequence[str], processes: int, environment: Mapping[str, str], request: signals.Request) -> int:
    running: list[tuple[subprocess.Popen[bytes], IO[bytes] | None]] = []
    try:
        for rank in range(processes):
            said: IO[bytes] | None = tempfile.TemporaryFile() if rank else None  # noqa: SIM115  (read after the process)
            process = subprocess.Popen(  # noqa: S603  (this program)
                [sys.executable, "-m", "bertft", *arguments],
                env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdout=said,
                stderr=said,
                start_new_session=True,  # a Ctrl-C on the terminal comes to each of them through here, once
            )
            running.append((process, said))
        return _wait(running, request)
    finally:
        for process, said in running:
            if process.poll() is None:
                process.terminate()
            process.wait()
            if said is not None:
                said.close()


def is_orphan() -> bool:
    """Say whether the process that started this one, of several, has gone."""
    starter = os.environ.get(_STARTER)
    return starter is not None and os.getppid() != int(starter)


def _wait(running: Sequence[tuple[subprocess.Popen[bytes], IO[bytes] | None]], request: signals.Request) -> int:
    passed_on = 0
    while True:
        if request.count > passed_on:
            passed_on += 1
            for process, _ in running:
                process.send_signal(request.number)
        codes = [process.poll() for process, _ in running]
        failed = next((i for i, code in enumerate(codes) if code), None)
        if failed:
            # the first process may be about to say the same
            with suppress(subprocess.TimeoutExpired):
                failed = 0 if running[0][0].wait(_GRACE_SECONDS) else failed
        if failed is not None:
            said = running[failed][1]
            if said is not None:
                said.seek(0)
                sys.stderr.write(said.read().decode(errors="replace"))
            code = running[failed][0].poll() or 1
            return 128 - code if code < 0 else code  # one that a signal ended, as a shell says it
        if None not in codes:
            return 0
        time.sleep(_POLL_SECONDS)


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def wait() -> None:
    """Wait for the other processes, where there are any."""
    import torch.distributed

    if _are_several():
        torch.distributed.barrier()


def _are_several() -> bool:
    import torch.distributed

    return torch.distributed.is_available() and torch.distributed.is_initialized()


def evaluate(engine: Engine, examples: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Return (example, prediction) of every example, in order; each process answers its share of them, once."""
    import torch.distributed

    if not _are_several():
        return engine.evaluate(examples)[0]
    rank, count = torch.distributed.get_rank(), torch.distributed.get_world_size()
    mine = [prediction for _, prediction in engine.evaluate(examples[rank::count])[0]]
    shares: list[Any] = [None] * count
    torch.distributed.all_gather_object(shares, mine)
    return [(example, shares[i % count][i // count]) for i, example in enumerate(examples)]
