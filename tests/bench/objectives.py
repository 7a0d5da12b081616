"""What the objectives beside masked words learn from real text: next sentences, sentence order, replaced tokens.

    python -m tests.bench.objectives                       # all three; some two hours on one core
    python -m tests.bench.objectives --only rtd --epochs 1 --limit 20

The text is WikiText-2: the articles of its validation part to learn from, the first of its test part to measure on.
The encoders have the embedded one's weights: as it is (BERT), as an ELECTRA, whose layers are BERT's, and as an
ALBERT with as many groups as layers, so that it shares none. The heads are new, and so is the generator. `before` is
measured without a step.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers

from bertft.encoders import embedded
from tests.bench.scores import DATA

OBJECTIVES = {"mlm+nsp": "bert", "mlm+sop": "albert", "rtd": "electra"}
_TITLE = re.compile(r" = [^=].* = ")
_DEV = 10
"""Articles to measure on."""


def articles(path: Path) -> list[str]:
    """Return the articles of a file of WikiText, without headings and empty lines."""
    found: list[list[str]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if _TITLE.fullmatch(line.rstrip("\n")):
            found.append([])
        elif found and line.strip() and not line.startswith(" ="):
            found[-1].append(line.strip())
    return ["\n".join(lines) for lines in found if lines]


def encoder(family: str, folder: Path) -> str:
    """Return `--model`: the embedded encoder, or a directory in which its weights are those of another family."""
    if family == "bert":
        return embedded.NAME
    source = embedded.locate()
    old = transformers.AutoModel.from_pretrained(source, dtype=torch.float32)
    sizes = {
        name: getattr(old.config, name)
        for name in (
            "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
            "max_position_embeddings", "type_vocab_size", "layer_norm_eps", "pad_token_id", "hidden_act",
        )
    }  # fmt: skip
    more = {"num_hidden_groups": sizes["num_hidden_layers"]} if family == "albert" else {}
    config = transformers.AutoConfig.for_model(family, **sizes, **more, embedding_size=sizes["hidden_size"])
    new = transformers.AutoModel.from_config(config)
    own = old.state_dict()
    if family == "albert":
        own = {_in_albert(name): value for name, value in own.items()}
        own["encoder.embedding_hidden_mapping_in.weight"] = torch.eye(sizes["hidden_size"])
        own["encoder.embedding_hidden_mapping_in.bias"] = torch.zeros(sizes["hidden_size"])
    told = new.load_state_dict({name: value for name, value in own.items() if name in new.state_dict()}, strict=False)
    if any("pooler" not in name for name in told.missing_keys):
        raise SystemExit(f"the {family} lacks {told.missing_keys}")
    new.save_pretrained(folder / family)
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    tokenizer.save_pretrained(folder / family)
    return str(folder / family)


def _in_albert(name: str) -> str:
    """Return what a weight of BERT is called in ALBERT."""
    layer = re.match(r"encoder\.layer\.(\d+)\.(.*)", name)
    group, rest = (f"encoder.albert_layer_groups.{layer[1]}.albert_layers.0.", layer[2]) if layer else ("", name)
    for old, new in (
        ("attention.self.", "attention."),
        ("attention.output.", "attention."),
        ("intermediate.dense.", "ffn."),
        ("output.dense.", "ffn_output."),
        ("output.LayerNorm.", "full_layer_layer_norm."),
        ("pooler.dense.", "pooler."),
    ):
        if rest.startswith(old):
            return group + rest.replace(old, new, 1)
    return group + rest


def train(out: Path, model: str, objective: str, files: dict[str, Path], settings: list[str]) -> dict[str, Any]:
    """Return the scores on dev of a model that is trained."""
    command = [
        sys.executable,
        "-m",
        "bertft",
        "train",
        "mlm",
        "--data",
        str(files["train"]),
        "--dev",
        str(files["dev"]),
    ]
    command += ["--model", model, "--out", str(out), "--overwrite", "--device", "cpu"]
    for setting in (f"options.objective={objective}", *settings):
        command += ["--set", setting]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    scores: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])["dev"]
    return scores


def figure(key: str, scores: dict[str, Any]) -> str:
    """Return a metric with its interval."""
    scale = 1 if key.endswith("loss") else 100
    low, high = (scale * bound for bound in scores["intervals"][key])
    digits = 3 if scale == 1 else 1
    return f"{scale * scores[key]:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def main() -> None:
    """Train, and print a table: a row an objective."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=OBJECTIVES, default=[*OBJECTIVES])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--limit", type=int, help="so many articles to learn from")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], help="a setting of the recipe")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the data sets")
    args = parser.parse_args()
    print("| objective | encoder | metric | before | after |\n" + "| --- " * 5 + "|", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        texts = {
            "train": articles(args.data / "wikitext" / "valid.txt")[: args.limit],
            "dev": articles(args.data / "wikitext" / "test.txt")[:_DEV],
        }
        files = {name: folder / f"{name}.txt" for name in texts}
        for name, found in texts.items():
            files[name].write_text("\n\n".join(found) + "\n", encoding="utf-8")
        settings = [f"options.window={args.window}", f"seed={args.seed}", *args.set]
        if any(one != "rtd" for one in args.only):
            print(f"{len(texts['train'])} articles, {len(texts['dev'])} for dev", file=sys.stderr)
        for objective in args.only:
            model = encoder(OBJECTIVES[objective], folder)
            still = ["trainer.max_steps=1", "trainer.learning_rate=0", "trainer.weight_decay=0"]
            before = train(folder / "before", model, objective, files, [*settings, *still])
            after = train(
                folder / "after", model, objective, files, [*settings, f"trainer.num_train_epochs={args.epochs}"]
            )
            for key in after["intervals"]:
                if key != "perplexity":
                    cells = [objective, OBJECTIVES[objective], key, figure(key, before), figure(key, after)]
                    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
