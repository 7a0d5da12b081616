"""`push`: a trained model in, a commit in a repository of the Hugging Face Hub out: a private one by default.

All that can be known is checked before the first request: that the model loads, what of it goes, that no secret does.
"""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bertft
from bertft.bundle import exported, generator
from bertft.bundle.contents import NEEDED, Contents, contents, is_part, local_paths, secrets
from bertft.bundle.store import MANIFEST, open_bundle
from bertft.console import NORMAL, level, say, warn
from bertft.encoders.load import resolve
from bertft.errors import BertftError, GateError, ModelError, OutputError, UsageError, first_line

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

_SECONDS = 10.0
_LOG_IN = "`hf auth login`, or HF_TOKEN in the environment; the token must be allowed to write"
_SAID = {
    401: ("the Hub does not know the token", _LOG_IN),
    403: ("the token may not write there", _LOG_IN),
    404: ("the Hub has no such owner, or shows it to others only", "check how it is written, and the token's rights"),
    409: ("something else is happening to the repository", "push again when that is done"),
    412: ("somebody else has committed meanwhile", "push again, if what they did may be written over"),
    429: ("the Hub takes no more requests for now", "push again later"),
}


def push(
    model: str, repository: str, *, public: bool = False, dry_run: bool = False, message: str | None = None
) -> dict[str, Any]:
    """Push a model in one commit; return `{"repository", "private", "files", "left_out", "deleted", "url", "commit"}`.

    `commit` is None where nothing had changed, and in a dry run, which makes no request. Raises UsageError for what is
    no model or no name, ModelError for a damaged one, GateError where it holds a secret, OutputError for what the Hub
    says.
    """
    _check_name(repository)
    directory = _directory(model)
    found = contents(directory)
    bundle = open_bundle(model)
    needed = [*NEEDED]
    if bundle.task.head().detects:
        needed += [f"{generator.FOLDER}/{name}" for name in generator.FILES]
    if missing := [name for name in needed if name not in found.files and not _is_sharded(name, found)]:
        why = f": {found.left_out[missing[0]]}" if missing[0] in found.left_out else ""
        raise ModelError(f"{missing[0]} cannot be pushed{why}" if why else f"{missing[0]} is missing", place=directory)
    if lines := secrets(found):
        raise GateError(
            "\n".join(("the model holds what looks like a secret; nothing was sent", *(f"  {line}" for line in lines))),
            place=directory,
            help="remove it there, and make the secret invalid if others may have seen it",
        )
    if lines := local_paths(found):
        warn(f"folders of this machine are named in what is pushed: {', '.join(lines[:3])}{' …' * (len(lines) > 3)}")
    bundle.load_model()
    exported.read(directory)
    sizes = found.sizes
    result = {"repository": repository, "private": not public, "files": sizes, "left_out": dict(found.left_out)}
    kind = "public" if public else "private"
    say(f"{repository}, {kind}: {len(sizes):,} files, {_size(sum(sizes.values()))}")
    for name, size in sizes.items():
        say(f"  {_size(size):>10}  {name}")
    for name, why in found.left_out.items():
        say(f"  {'left out':>10}  {name}: {why}")
    if dry_run:
        say("a dry run: nothing was sent")
        return {**result, "deleted": [], "url": None, "commit": None}
    return {**result, **_send(found, repository, public=public, message=message)}


def _send(found: Contents, repository: str, *, public: bool, message: str | None) -> dict[str, Any]:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token

    if (token := get_token()) is None:
        raise UsageError("there is no token for the Hub", help=_LOG_IN)
    with _hub(repository):
        api = HfApi(token=token, library_name="bertft", library_version=bertft.__version__)
        before = _find(api, repository)
        if before is None:
            api.create_repo(repository, private=not public, exist_ok=True)
            before = api.model_info(repository, timeout=_SECONDS)
            say(f"created: {repository}")
        if before.private == public:
            there, asked = ("private", "public") if public else ("public", "private")
            raise UsageError(
                f"{repository} is {there} already, and was to be {asked}; nothing was sent",
                help=f"{'leave `--public` out' if public else 'say `--public`'}, or change its settings on the Hub",
            )
        stale = sorted(
            name for file in before.siblings or () if is_part(name := file.rfilename) and name not in found.files
        )
        commit = api.create_commit(
            repository,
            [
                *(CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in found.files.items()),
                *(CommitOperationDelete(path_in_repo=name, is_folder=False) for name in stale),
            ],
            commit_message=message or f"A model of bertft {bertft.__version__}",
            parent_commit=before.sha,
        )
        after = {file.rfilename for file in api.model_info(repository, timeout=_SECONDS).siblings or ()}
    if lost := [name for name in found.files if name not in after]:  # its .gitignore says so
        raise OutputError(f"the Hub has not taken {', '.join(lost)}", place=repository, help="see its .gitignore there")
    changed = commit.oid != before.sha
    url = f"{api.endpoint}/{repository}"
    for name in stale:
        say(f"removed there, as the model has it no more: {name}")
    say(f"pushed: {url}" if changed else f"nothing changed: {url} has these files")
    return {"deleted": stale, "url": url, "commit": commit.oid if changed else None}


def _find(api: HfApi, repository: str) -> ModelInfo | None:
    """Return what the Hub says of a repository, None where it shows none of that name."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return api.model_info(repository, timeout=_SECONDS)
    except RepositoryNotFoundError as error:
        if error.response.status_code != 404:
            raise
        return None


@contextmanager
def _hub(repository: str) -> Iterator[None]:
    """Keep the Hub's client quiet, and turn what it raises into one error, without the token."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    log = logging.getLogger("huggingface_hub")
    before, bars = log.level, not are_progress_bars_disabled()
    log.setLevel(logging.ERROR)
    if not (sys.stderr.isatty() and level() >= NORMAL):
        disable_progress_bars()
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            yield
        for one in said:
            if issubclass(one.category, UserWarning):
                warn(" ".join(str(one.message).split()))
    except BertftError:
        raise
    except Exception as error:  # of the client, of its HTTP library, and what either makes of a strange answer
        raise _explained(error, repository) from error
    finally:
        log.setLevel(before)
        if bars:
            enable_progress_bars()


def _explained(error: Exception, repository: str) -> OutputError:
    from huggingface_hub import constants

    response = getattr(error, "response", None)
    if response is not None:
        status = int(response.status_code)
        fact, advice = _SAID.get(status, (f"the Hub answers with {status}", "its message: " + _message(error)))
        return OutputError(fact, place=repository, help=advice)
    if constants.HF_HUB_OFFLINE:
        return OutputError("the Hub is switched off (HF_HUB_OFFLINE)", place=repository)
    if str(error).startswith("Invalid metadata"):
        return OutputError(f"the Hub does not take the card: {' '.join(str(error).split())}", place="README.md")
    fact = f"the Hub cannot be reached, or its answer not be read: {first_line(error)}"
    return OutputError(fact, place=repository, help="check the connection; what was sent in part is no commit")


def _message(error: Exception) -> str:
    return str(getattr(error, "server_message", None) or first_line(error))[:300]


def _check_name(repository: str) -> None:
    if not re.fullmatch(r"(?!.*(--|\.\.))[a-zA-Z0-9][\w.-]{0,95}/\w([\w.-]{0,94}\w)?", repository, re.ASCII):
        raise UsageError(f"{repository!r:.200} names no repository", help="the form is owner/name")


def _directory(model: str) -> Path:
    """Return the directory of a trained model; raises ModelError or UsageError where it is none."""
    checkpoint = resolve(model)
    directory = Path(checkpoint.location)
    if not Path(model).expanduser().is_dir() or not (directory / MANIFEST).is_file():
        raise UsageError(f"{model!r} is no directory that bertft has written: there is nothing to push")
    return directory


def _is_sharded(name: str, found: Contents) -> bool:
    return name == "model.safetensors" and f"{name}.index.json" in found.files


def _size(count: float) -> str:
    """Return a number of bytes as people read it."""
    for unit in ("B", "kB", "MB"):
        if round(count) < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
