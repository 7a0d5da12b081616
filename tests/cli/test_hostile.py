"""Input that means harm: nothing that is read is run, nothing outside what was named is opened, all comes out inert."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from cli.conftest import Ran, Run
from safetensors.torch import load_file

TOLD = "is a pickle, which can hold code"
HOSTILE = [
    "\x1b[2J\x1b]0;owned\x07",  # clears the screen, names the window
    "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "\x9b2J\x7f",
    "a\nforged: line\r\tx",
    "\u202eright\u2066left\u2069\u200f\u061c",
    "nul\x00",
    "<script>alert(1)</script>",
    "`[x](javascript:alert(1))` | b **c**",
    "---",
    '=HYPERLINK("https://evil.example")',
    "+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)",
    "-1",
]
"""Labels that act on a terminal, a page, a card or a spreadsheet, and one that only looks so."""


class Malicious:
    """What leaves a folder behind when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._trace),)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """What is there only if something was run."""
    return tmp_path / "somebody-was-here"


@pytest.fixture
def copied(model: Path, tmp_path: Path) -> Path:
    """A trained tagger, to be changed."""
    return Path(shutil.copytree(model, tmp_path / "model"))


@pytest.fixture
def plain(copied: Path) -> Path:
    """The same as other programs write it, without bertft's own files."""
    (copied / "bertft.json").unlink()
    return copied


def as_pickle(directory: Path, name: str = "pytorch_model.bin", more: Any = None) -> Path:
    """Replace a directory's weights by a pickle of them, with `more` in it."""
    weights = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    torch.save({**weights, **({"more": more} if more else {})}, directory / name)
    return directory


def sharded(directory: Path, name: str, shard: str) -> None:
    """Write an index by which all weights are in `shard`, which may lie anywhere."""
    weights = load_file(directory / "model.safetensors")
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(weights, shard)}
    (directory / name).write_text(json.dumps(index))


def change(path: Path, **values: object) -> None:
    """Put values into a JSON object in a file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


# -- pickles -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["train", "eval", "predict", "export"])
def test_a_pickle_is_refused_wherever_a_model_is_named(
    command: str, cli: Run, copied: Path, trace: Path, train_file: Path, tmp_path: Path
) -> None:
    as_pickle(copied, more=Malicious(trace))
    arguments: dict[str, list[object]] = {
        "train": ["train", "ner", "--data", train_file, "--model", copied, "--out", tmp_path / "out"],
        "eval": ["eval", copied, "--data", train_file],
        "predict": ["predict", copied, train_file],
        "export": ["export", copied],
    }
    cli(*arguments[command]).fails(4, f"pytorch_model.bin {TOLD}", "--allow-pickle", f"--> {copied}")
    cli(*arguments[command], "--allow-pickle").fails(4, "holds something else than weights")
    assert not trace.exists()
    assert not (tmp_path / "out").exists()


def test_a_pickle_of_weights_alone_is_read_where_that_is_allowed(
    cli: Run, copied: Path, encoder: Path, train_file: Path, tmp_path: Path
) -> None:
    before = cli("predict", copied, train_file, "-q").out
    as_pickle(copied)
    ran = cli("predict", copied, train_file, "--allow-pickle")
    assert (ran.code, ran.out) == (0, before), ran.err
    assert "weights_only=True" in ran.err
    assert json.loads(cli("eval", copied, "--data", train_file, "--allow-pickle", "-q").out)["f1"] == 1.0
    base = as_pickle(Path(shutil.copytree(encoder, tmp_path / "base")))
    out = tmp_path / "out"
    settings = ("--set", "trainer.max_steps=2", "--set", "trainer.bf16=false")
    ran = cli("train", "ner", "--data", train_file, "--model", base, "--out", out, "--allow-pickle", *settings)
    assert ran.code == 0, ran.err
    assert not [path.name for path in out.rglob("*") if path.suffix in (".bin", ".pt", ".pth", ".pkl")]


def test_a_sharded_pickle_is_refused_too(cli: Run, plain: Path, trace: Path, train_file: Path) -> None:
    sharded(plain, "pytorch_model.bin.index.json", "pytorch_model-00001-of-00001.bin")
    as_pickle(plain, "pytorch_model-00001-of-00001.bin", Malicious(trace))
    cli("predict", plain, train_file).fails(4, TOLD, "--allow-pickle")
    cli("predict", plain, train_file, "--allow-pickle").fails(4, "holds something else than weights")
    assert not trace.exists()


@pytest.mark.parametrize(
    "name", ["model.pkl", "weights.pt", "last.ckpt", "model.pth", "training_args.bin", "optimizer.pt"]
)
def test_any_other_pickle_is_no_model(name: str, cli: Run, plain: Path, trace: Path, train_file: Path) -> None:
    as_pickle(plain, name, Malicious(trace))
    for more in ([], ["--allow-pickle"]):
        cli("predict", plain, train_file, *more).fails(4, "no model.safetensors", f"{name} {TOLD}", "save_pretrained")
    assert not trace.exists()


def test_pickles_beside_the_weights_are_never_read(cli: Run, copied: Path, trace: Path, train_file: Path) -> None:
    before = cli("predict", copied, train_file, "-q")
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt", "model.pkl", "scheduler.pt"):
        (copied / name).write_bytes(pickle.dumps(Malicious(trace)))
    for more in ([], ["--allow-pickle"]):
        assert cli("predict", copied, train_file, "-q", *more) == before
    assert not trace.exists()


@pytest.mark.parametrize("own", [True, False])
def test_a_pickle_that_is_called_safetensors_is_a_damaged_model(
    own: bool, cli: Run, copied: Path, trace: Path, train_file: Path
) -> None:
    if not own:
        (copied / "bertft.json").unlink()
    (copied / "model.safetensors").write_bytes(pickle.dumps(Malicious(trace)))
    for more in ([], ["--allow-pickle"]):
        cli("predict", copied, train_file, *more).fails(4, "cannot load the model")
    assert not trace.exists()


def test_a_name_like_safetensors_does_not_hide_a_pickle(cli: Run, plain: Path, trace: Path, train_file: Path) -> None:
    as_pickle(plain, more=Malicious(trace))
    (plain / "model-of-mine.safetensors").write_bytes(b"")
    cli("predict", plain, train_file).fails(4, f"pytorch_model.bin {TOLD}")
    assert not trace.exists()


def test_the_head_of_a_crf_is_no_pickle_either(cli: Run, copied: Path, trace: Path, train_file: Path) -> None:
    change(
        copied / "bertft.json", options={**json.loads((copied / "bertft.json").read_text())["options"], "head": "crf"}
    )
    (copied / "bertft_head.safetensors").write_bytes(pickle.dumps(Malicious(trace)))
    cli("predict", copied, train_file).fails(4, "bertft_head.safetensors")
    assert not trace.exists()


# -- code --------------------------------------------------------------------------------------------------------------

EVIL = "import os\nos.mkdir({trace!r})\n"


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("config.json", {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine", "AutoModel": "mine.Mine"}}),
        ("config.json", {"model_type": "mine", "auto_map": {"AutoConfig": "some/where--mine.Mine"}}),
        ("config.json", {"attn_implementation": "some/where"}),
        ("config.json", {"experts_implementation": {"": "some/where"}}),
        ("tokenizer_config.json", {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["mine.Mine", None]}}),
    ],
)
@pytest.mark.parametrize("flag", [[], ["--trust-remote-code"]])
def test_a_model_that_brings_code_is_refused(
    file: str, values: dict[str, Any], flag: list[str], cli: Run, plain: Path, trace: Path, train_file: Path
) -> None:
    (plain / "mine.py").write_text(EVIL.format(trace=str(trace)))
    if "tokenizer_class" in values:
        (plain / "tokenizer.json").unlink()
    change(plain / file, **values)
    said = ("code of its own", "it was not run") if file == "config.json" else ("cannot load the model",)
    cli("eval", plain, "--data", train_file, *flag).fails(4, *said)
    assert not trace.exists()


def test_code_beside_an_architecture_of_transformers_is_not_run(
    cli: Run, plain: Path, trace: Path, train_file: Path
) -> None:
    before = cli("eval", plain, "--data", train_file)
    for name in ("mine", "configuration_mine", "__init__"):
        (plain / f"{name}.py").write_text(EVIL.format(trace=str(trace)))
    classes = ("AutoConfig", "AutoModel", "AutoModelForTokenClassification")
    change(plain / "config.json", auto_map=dict.fromkeys(classes, "mine.Mine"))
    change(plain / "tokenizer_config.json", auto_map={"AutoTokenizer": ["mine.Mine", "mine.Mine"]})
    assert cli("eval", plain, "--data", train_file) == before
    assert not trace.exists()


def test_an_adapter_names_another_model(cli: Run, plain: Path, train_file: Path) -> None:
    (plain / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "some/where"}))
    cli("eval", plain, "--data", train_file).fails(4, "adapter", "merge_and_unload")


@pytest.mark.parametrize("name", ["exact.py", "./exact.py", "exact", "some/where", "accuracy"])
def test_a_recipe_runs_no_metric(
    name: str, cli: Run, encoder: Path, trace: Path, train_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("exact").mkdir()
    for place in ("exact.py", "exact/exact.py"):
        Path(place).write_text(EVIL.format(trace=str(trace)))
    Path("mine.yaml").write_text(f"task: ner\nmetrics: [{name}]\n")
    ran = cli("train", "mine.yaml", "--data", train_file, "--model", encoder, "--out", "out")
    ran.fails(2, "loading it runs it", "--trust-remote-code")
    assert not trace.exists()


def test_a_script_in_a_data_folder_is_not_run(cli: Run, model: Path, trace: Path, tmp_path: Path) -> None:
    folder = tmp_path / "news"
    folder.mkdir()
    for name in ("news.py", "data.py", "__init__.py", "train.py"):
        (folder / name).write_text(EVIL.format(trace=str(trace)))
    cli("eval", model, "--data", folder).fails(3, "this is a directory")
    cli("eval", model, "--data", f"hub:{folder.name}/news").fails(3)
    for label in ("pos", "neg"):
        (folder / label).mkdir()
        (folder / label / "a.txt").write_text("Ada lives in Rome")
    assert cli("predict", model, folder, "-q").code == 0
    assert not trace.exists()


# -- files outside -----------------------------------------------------------------------------------------------------


@pytest.fixture
def outside(copied: Path) -> Path:
    """Sound weights, and other files, in the directory above the model."""
    for name in ("model.safetensors", "tokenizer.json"):
        shutil.copy(copied / name, copied.parent / name)
    shutil.copy(copied / "tokenizer.json", copied.parent / "tokenizer.1.0.json")
    return copied.parent


@pytest.mark.parametrize(
    "shard", ["../model.safetensors", "{}/model.safetensors", "a/../../model.safetensors", "x.bin"]
)
def test_weights_are_looked_for_in_the_model_alone(
    shard: str, cli: Run, plain: Path, outside: Path, train_file: Path
) -> None:
    sharded(plain, "model.safetensors.index.json", shard.format(outside))
    (plain / "model.safetensors").unlink()
    (plain / "a").mkdir()
    torch.save({}, plain / "x.bin")
    cli("eval", plain, "--data", train_file).fails(4, "model.safetensors.index.json", repr(shard.format(outside)))


def test_the_configuration_does_not_choose_the_weights(cli: Run, plain: Path, outside: Path, train_file: Path) -> None:
    change(plain / "config.json", transformers_weights="../model.safetensors")
    cli("eval", plain, "--data", train_file).fails(4, "config.json", "'../model.safetensors'")


@pytest.mark.parametrize(
    "key", ["vocab_file", "tokenizer_file", "merges_file", "special_tokens_map_file", "added_tokens_file"]
)
def test_a_tokenizer_reads_its_own_files_alone(
    key: str, cli: Run, plain: Path, outside: Path, train_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cli("eval", plain, "--data", train_file)
    (outside / "secret").write_text("[")
    change(plain / "tokenizer_config.json", **{key: str(outside / "secret")})
    assert cli("eval", plain, "--data", train_file) == before


@pytest.mark.parametrize("name", ["../tokenizer.1.0.json", "a/../../tokenizer.1.0.json"])
def test_no_other_tokenizer_is_chosen_by_a_path(
    name: str, cli: Run, plain: Path, outside: Path, train_file: Path
) -> None:
    (plain / "a").mkdir()
    change(plain / "tokenizer_config.json", fast_tokenizer_files=[name])
    cli("eval", plain, "--data", train_file).fails(4, "tokenizer_config.json", repr(name))


@pytest.mark.parametrize("key", ["unk_token", "pad_token", "encoding", "model"])
def test_nothing_in_bertft_json_is_a_path(key: str, cli: Run, copied: Path, outside: Path, train_file: Path) -> None:
    before = cli("predict", copied, train_file, "-q")
    for value in ("../tokenizer.json", str(outside)):
        change(copied / "bertft.json", **{key: value})
        assert cli("predict", copied, train_file, "-q") == before
    change(copied / "bertft.json", task="../tokenizer.json")
    cli("predict", copied, train_file).fails(4, "damaged", "unknown task")


@pytest.mark.parametrize("name", ["../secret", "{}/secret"])
@pytest.mark.parametrize("file", ["dataset_dict.json", "state.json"])
def test_saved_data_sets_name_no_files_outside(file: str, name: str, cli: Run, model: Path, tmp_path: Path) -> None:
    import datasets

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "disable_progress_bars", lambda: None)
        datasets.Dataset.from_dict({"tokens": [["Ada"]], "tags": [["B-PER"]]}).save_to_disk(str(tmp_path / "secret"))
    named = name.format(tmp_path)
    folder = tmp_path / "data"
    folder.mkdir()
    arrow = next((tmp_path / "secret").glob("*.arrow")).name
    values = {"splits": [named]} if file == "dataset_dict.json" else {"_data_files": [{"filename": f"{named}/{arrow}"}]}
    (folder / file).write_text(json.dumps(values))
    cli("eval", model, "--data", folder).fails(3, str(folder))


# -- what comes out ----------------------------------------------------------------------------------------------------


def labelled(path: Path, labels: list[str]) -> Path:
    """Write texts that tell their labels."""
    words = [
        "quick",
        "brown",
        "lazy",
        "fox",
        "dog",
        "runs",
        "home",
        "nobody",
        "knew",
        "clock",
        "noon",
        "late",
        "prices",
        "rose",
    ]
    rows = [{"text": f"{word} " * 3, "label": label} for word, label in zip(words, labels, strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows * 12))
    return path


@pytest.fixture(scope="module")
def hostile(base: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A classifier of hostile labels, with its data and what was said in training."""
    import contextlib

    from bertft.cli import main

    folder = tmp_path_factory.mktemp("hostile")
    data = labelled(folder / "`x` | <script>[y](javascript:z).jsonl", HOSTILE)
    out = folder / "model"
    settings = {
        "num_train_epochs": "80",
        "per_device_train_batch_size": "16",
        "learning_rate": "2e-3",
        "eval_strategy": "no",
        "save_strategy": "no",
        "bf16": "false",
    }
    command = ["train", "classify", "--data", str(data), "--dev", str(data), "--model", str(base("bert-uncased"))]
    command += ["--out", str(out), "--overwrite"]
    command += [part for key, value in settings.items() for part in ("--set", f"trainer.{key}={value}")]
    for seed in range(9):  # what is asked is how labels are written; so small a model does not always learn all of them
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = main([*command, "--seed", str(seed)])
        assert code == 0, said.getvalue()
        if json.loads((out / "metrics.json").read_text())["dev"]["accuracy"] == 1:
            return out, data, said.getvalue()
    raise AssertionError("no seed has learnt the labels")


def is_inert(text: str) -> bool:
    """Say whether a terminal shows a text and does nothing else."""
    return all(sign.isprintable() or sign in "\n\t" for sign in text)


def test_labels_do_not_drive_the_terminal(
    hostile: tuple[Path, Path, str], cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data, said = hostile
    assert is_inert(said)
    assert "\nforged" not in said
    from bertft.inference.evaluate import evaluate
    from bertft.report.table import score_table

    table = score_table(evaluate(str(model), str(data)))
    assert is_inert(table)
    assert len(table.splitlines()) == len(HOSTILE) + 3
    for arguments in (
        ["recipes", "show", HOSTILE[0]],
        [HOSTILE[0]],
        ["eval", HOSTILE[0], f"--{HOSTILE[0]}"],
        ["predict", f"./{HOSTILE[0]}"],
    ):
        assert is_inert(cli(*arguments).err)
    assert is_inert(cli("eval", model, "--data", data.with_name(f"no{HOSTILE[0]}"), "-v").err)


def test_json_keeps_every_character_and_escapes_those_that_act(
    hostile: tuple[Path, Path, str], cli: Run, tmp_path: Path
) -> None:
    model, data, _ = hostile
    ran = cli("eval", model, "--data", data)
    assert {*json.loads(ran.out)["per_label"]} == {*HOSTILE}
    assert not any(ord(sign) < 32 or 127 <= ord(sign) < 160 for sign in ran.out.rstrip("\n"))
    rows = [json.loads(line)["prediction"]["label"] for line in cli("predict", model, data, "-q").out.splitlines()]
    assert {*rows} == {*HOSTILE}


def test_a_model_card_is_text(hostile: tuple[Path, Path, str]) -> None:
    card = (hostile[0] / "README.md").read_text(encoding="utf-8")
    front, _, body = card.removeprefix("---\n").partition("\n---\n")
    assert {line.partition(":")[0] for line in front.splitlines() if line[0] not in " -"} == {
        "library_name", "pipeline_tag", "metrics", "tags", "model-index",
    }  # fmt: skip
    assert is_inert(card)
    data = yaml.safe_load(front)["model-index"][0]["results"][0]["dataset"]
    assert data["name"] == hostile[1].name
    body, _, rest = body.partition("```python")
    body += rest.partition("```")[2]
    assert "<" not in body
    assert "](" not in body
    assert body.count("`") % 2 == 0
    ours = ("|", "#", "- ", "Labels: ", "    ", "Trained", "In p", "By label, on ", "Its confidence is off by ")
    assert all(line.startswith(ours) or not line for line in body.splitlines())
    rows = [line for line in body.splitlines() if line.startswith("| train")]
    assert [line.count("|") for line in rows] == [5]
    labels = body.partition("## Limits")[0].partition("By label")[2].strip().splitlines()
    assert [line.count("|") for line in labels[4:]] == [6] * len(HOSTILE)
    assert str(hostile[0].parent) not in card


def test_cells_that_are_added_are_no_formulas(hostile: tuple[Path, Path, str], cli: Run, tmp_path: Path) -> None:
    model, data, _ = hostile
    table = tmp_path / "f.csv"
    texts = [json.loads(line)["text"] for line in data.read_text().splitlines()[: len(HOSTILE)]]
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([["text", "note"], *([text, "=1+1"] for text in texts)])
    ran = cli("predict", model, table)
    rows = list(csv.DictReader(io.StringIO(ran.out, newline="")))
    assert all(row["note"] == "=1+1" for row in rows)  # the input's own bytes
    cells = [row["pred_label"] for row in rows]
    assert all(not cell.startswith(("=", "@", "\t", "\r")) for cell in cells)
    assert [cell.removeprefix("'") for cell in cells] == HOSTILE
    assert "-1" in cells
    assert ran.err.count("a spreadsheet would run") == 1


# -- secrets -----------------------------------------------------------------------------------------------------------

CANARIES = {
    "HF_TOKEN": "hf_CANARYcanaryCANARYcanaryCANARY01",
    "WANDB_API_KEY": "canary02canary02canary02canary02",
    "AWS_SECRET_ACCESS_KEY": "canary03/canary03+canary03canary03",
    "AWS_ACCESS_KEY_ID": "AKIACANARY04CANARY04",
    "MY_PASSWORD": "canary05canary05",
}


def test_secrets_reach_no_file_and_no_terminal(
    cli: Run, encoder: Path, train_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CANARIES.items():
        monkeypatch.setenv(name, value)
    out, said = tmp_path / "out", []
    quick = [
        "trainer.max_steps=4",
        "trainer.bf16=false",
        "trainer.eval_strategy=steps",
        "trainer.eval_steps=2",
        "trainer.save_strategy=steps",
        "trainer.save_steps=2",
    ]
    settings = [part for one in quick for part in ("--set", one)]
    train = ["train", "ner", "--data", train_file, "--dev", train_file, "--model", encoder, "--out", out, "-v"]
    url = "https://user:canary06canary06@host.example/train.conll"
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("task: ner\ntrainer: {hub_token: canary07canary07}\n")
    runs: list[tuple[int, list[object]]] = [
        (2, [*train, "--set", "trainer.hub_token=canary07canary07"]),
        (2, [*train, "--set", "hub_token=canary07canary07"]),
        (2, [*train, "--set", f"trainer.learning_rate={CANARIES['HF_TOKEN']}"]),
        (2, ["train", recipe, *train[2:]]),
        (3, ["train", "ner", "--data", url, "--model", encoder, "--out", out, "-v"]),
        (4, ["train", "ner", "--data", train_file, "--model", url, "--out", out, "-v"]),
        (0, [*train, *settings]),
        (0, ["eval", out, "--data", train_file, "-v"]),
        (0, ["predict", out, train_file, "-v"]),
        (3, ["predict", out, url, "-v"]),
        (4, ["eval", url, "--data", train_file, "-v"]),
        (4, ["eval", f"./{CANARIES['MY_PASSWORD']}", "--data", train_file, "-v"]),
    ]
    for code, arguments in runs:
        ran = cli(*arguments)
        assert ran.code == code, ran.err
        said.append(ran.err + ran.out)
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path != recipe]
    assert len(written) > 5
    for text in (*(one.encode() for one in said), *written):
        assert b"canary" not in text.lower(), text[:2000]
    assert "https://…@host.example/train.conll" in said[4]


def test_a_graph_keeps_its_weights_beside_it(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from bertft.bundle.exported import Export
    from bertft.errors import ModelError
    from bertft.inference.load import load_export

    folder = tmp_path / "onnx"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(16))
    for location in ("../secret", str(tmp_path / "secret")):
        fields = {"location": location, "offset": "0", "length": "16"}
        weights = onnx.TensorProto(name="w", data_type=1, dims=[4], data_location=onnx.TensorProto.EXTERNAL)
        weights.external_data.extend(onnx.StringStringEntryProto(key=key, value=value) for key, value in fields.items())
        ends = [onnx.helper.make_tensor_value_info(name, 1, [4]) for name in "xy"]
        add = onnx.helper.make_node("Add", ["x", "w"], ["y"])
        graph = onnx.helper.make_graph([add], "g", ends[:1], ends[1:], [weights])
        opset = [onnx.helper.make_opsetid("", 18)]
        model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        for engine in ("openvino", "onnxruntime"):
            pytest.importorskip(engine)
            with pytest.raises(ModelError, match="cannot read the graph"):
                load_export(Export(folder, engine, "fp32"), engine, "fp32", 0)


# -- the Hub -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(plain: Path) -> Iterator[str]:
    """A Hub on this machine: whatever id it is asked for, it has the files of `plain`."""
    import hashlib
    import http.server
    import threading

    commit = "0" * 40

    class Hub(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = self.path.partition("?")[0].strip("/").split("/")
            body, code = b"{}", 404
            if parts[0] == "api" and "tree" not in parts:
                siblings = [{"rfilename": path.name} for path in plain.iterdir()]
                body, code = json.dumps({"id": "some/where", "sha": commit, "siblings": siblings}).encode(), 200
            elif "resolve" in parts and (plain / parts[-1]).is_file():
                body, code = (plain / parts[-1]).read_bytes(), 200
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Repo-Commit", commit)
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            if code == 404:
                self.send_header("X-Error-Code", "EntryNotFound")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *arguments: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.slow
def test_what_the_hub_gives_is_looked_at_first(
    hub: str, shell: Run, plain: Path, trace: Path, train_file: Path, tmp_path: Path
) -> None:
    def ask(name: str, *more: str) -> Ran:
        home = tmp_path / f"home{len(list(tmp_path.glob('home*')))}"
        variables = {"HF_ENDPOINT": hub, "HF_HOME": home, "NO_PROXY": "127.0.0.1"}
        return shell("eval", name, "--data", train_file, *more, **variables)

    ran = ask("some/where")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["f1"] == 1.0
    sharded(plain, "model.safetensors.index.json", "../../x.safetensors")
    ask("some/where").fails(4, "model.safetensors.index.json names '../../x.safetensors'")
    (plain / "model.safetensors.index.json").unlink()
    (plain / "mine.py").write_text(EVIL.format(trace=str(trace)))
    config = (plain / "config.json").read_text()
    change(plain / "config.json", model_type="mine", auto_map={"AutoConfig": "mine.Mine"})
    ask("some/where", "--trust-remote-code").fails(4, "code of its own", "it was not run")
    (plain / "config.json").write_text(config)
    as_pickle(plain)
    ask("some/where").fails(4, f"pytorch_model.bin {TOLD}", "--allow-pickle")
    for asked in (["some/where", "--allow-pickle"], ["deberta-v3-base"]):
        ran = ask(*asked)
        assert ran.code == 0, ran.err
        assert "weights_only=True" in ran.err
    assert not trace.exists()
