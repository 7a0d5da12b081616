"""What of a model's directory goes to the Hub: the files that make the model, and none with a secret in it.

A file is a part of the model by its name; pickles, checkpoints, files of a shell and all that is not known stay here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bertft.bundle import generator
from bertft.bundle.exported import FOLDER
from bertft.bundle.store import MANIFEST
from bertft.encoders import adapters
from bertft.errors import environment_secrets

NEEDED = ("config.json", "model.safetensors", "tokenizer.json", MANIFEST)
_PARTS = frozenset({
    *NEEDED, "README.md", "recipe.yaml", "metrics.json", "LICENSE", "bertft_head.safetensors",
    "model.safetensors.index.json", "generation_config.json",
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "vocab.txt", "vocab.json", "merges.txt", "tokenizer.model", "spiece.model", "spm.model", "sentencepiece.bpe.model",
    *(f"{FOLDER}/{name}" for name in ("model.onnx", "model.onnx.data", "int8.xml", "int8.bin", "decoding.safetensors",
                                      "export.json")),
    *(f"{adapters.FOLDER}/{name}" for name in adapters.FILES),
    *(f"{generator.FOLDER}/{name}" for name in generator.FILES),
})  # fmt: skip
_SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
_TEXT = frozenset({".json", ".jinja", ".md", ".txt", ".xml", ".yaml", ""})
_REASONS = (
    (re.compile(r"(^|/)\.env|\.(pem|key|netrc)$"), "may hold secrets"),
    (
        re.compile(r"(^|/)checkpoint-\d+/|(^|/)(optimizer|scheduler|scaler|rng_state|trainer_state)[^/]*$"),
        "of training",
    ),
    (re.compile(r"\.(bin|pt|pth|pkl|pickle|ckpt)$"), "a pickle, which can hold code"),
    (re.compile(r"\.blob$"), "compiled for this machine"),
)
_SECRETS = {
    "a token of Hugging Face": re.compile(r"\bhf_[A-Za-z0-9]{20,}"),
    "a token of GitHub": re.compile(r"\bgh[opsur]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{20,}"),
    "an API key": re.compile(r"\bsk-[A-Za-z0-9_-]{20,}|\bAIza[\w-]{35}"),
    "a key of AWS": re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    "a private key": re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY"),
    "a password in an address": re.compile(r"://[^/\s:@\"']*:[^/\s@\"']+@"),
}
_LOCAL = re.compile(r"(?:^|[\s\"':])(~?/[^/\s\"']+/[^\s\"']*|[A-Za-z]:\\[^\s\"']+)")
_NAMES_PATHS = (MANIFEST, "recipe.yaml")


@dataclass(frozen=True, slots=True)
class Contents:
    """The files that are pushed, by their names in the repository, and why others are not."""

    files: Mapping[str, Path]
    left_out: Mapping[str, str]

    @property
    def sizes(self) -> dict[str, int]:
        """The bytes of each file."""
        return {name: path.stat().st_size for name, path in self.files.items()}


def is_part(name: str) -> bool:
    """Say whether a file is a part of a model, by its name in the repository."""
    return name in _PARTS or _SHARD.fullmatch(name) is not None


def contents(directory: Path) -> Contents:
    """Return what of a directory is pushed; nothing that a link leads to, which may lie anywhere."""
    files, left_out = {}, {}
    for path in _walk(directory):
        name = path.relative_to(directory).as_posix()
        if path.is_symlink():
            left_out[name] = "a link"
        elif not path.is_file():
            left_out[f"{name}/" if path.is_dir() else name] = _reason(f"{name}/")
        elif is_part(name):
            files[name] = path
        else:
            left_out[name] = _reason(name)
    return Contents(files, left_out)


def secrets(found: Contents) -> list[str]:
    """Return `file:line: what` of each secret in the texts among the files, without the secret itself."""
    own = environment_secrets()
    lines = []
    for name, number, line in _lines(found, found.files):
        kinds = [what for what, form in _SECRETS.items() if form.search(line)]
        if not kinds and any(value in line for value in own):
            kinds = ["a secret of the environment"]
        lines += [f"{name}:{number}: {what}" for what in kinds]
    return lines


def local_paths(found: Contents) -> list[str]:
    """Return `file:line: path` of the folders of this machine that a model's own description names."""
    return [
        f"{name}:{number}: {path[1]}"
        for name, number, line in _lines(found, _NAMES_PATHS)
        for path in _LOCAL.finditer(line)
    ]


def _lines(found: Contents, names: Sequence[str] | Mapping[str, Path]) -> Iterator[tuple[str, int, str]]:
    for name in names:
        if name in found.files and Path(name).suffix in _TEXT:
            with found.files[name].open(encoding="utf-8", errors="replace") as file:
                yield from ((name, number, line) for number, line in enumerate(file, 1))


def _walk(directory: Path) -> Iterator[Path]:
    """Yield files and links, those of the folders of a model among them, and other folders as a whole."""
    for path in sorted(directory.iterdir()):
        if path.name in (FOLDER, adapters.FOLDER, generator.FOLDER) and path.is_dir() and not path.is_symlink():
            yield from sorted(path.iterdir())
        else:
            yield path


def _reason(name: str) -> str:
    return next((why for form, why in _REASONS if form.search(name)), "no part of the model")
