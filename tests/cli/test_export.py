"""`export`, and what `predict` and `eval` make of it: the same records, without torch, and int8 only where it holds."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest
import tiny
from cli.conftest import Run

pytest.importorskip("openvino", reason="needs the extra bertft[export]")
pytest.importorskip("onnxruntime", reason="needs onnxruntime")
pytest.importorskip("nncf", reason="needs the extra bertft[export]")

TEXT = "".join(" ".join(word for word, _ in row) + "\n" for row in tiny.sentences())


@pytest.fixture(scope="module")
def bundle(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny tagger, exported."""
    from bertft.export.run import export

    copy = Path(shutil.copytree(model, tmp_path_factory.mktemp("exported") / "model"))
    result = export(str(copy))
    assert result["engine"] in ("openvino", "onnxruntime")
    return copy


@pytest.fixture
def plain(model: Path, tmp_path: Path) -> Path:
    """The tiny tagger, not exported."""
    return Path(shutil.copytree(model, tmp_path / "model"))


def test_predictions_are_those_of_torch(cli: Run, bundle: Path) -> None:
    by_torch = cli("predict", bundle, "--backend", "torch", "-q", "--scores", stdin=TEXT)
    for backend in ("openvino", "onnxruntime", "auto"):
        ran = cli("predict", bundle, "--backend", backend, "-q", "--scores", stdin=TEXT)
        assert ran.code == 0, ran.err
        close = 1e-2 if backend != "onnxruntime" else 1e-4  # bf16, where the CPU has it
        for line, other in zip(ran.out.splitlines(), by_torch.out.splitlines(), strict=True):
            found, wanted = json.loads(line)["prediction"], json.loads(other)["prediction"]
            assert found["scores"] == pytest.approx(wanted["scores"], abs=close)
            spans = [[(e["start"], e["end"], e["label"]) for e in one["entities"]] for one in (found, wanted)]
            assert spans[0] == spans[1]


def test_eval_uses_the_export_and_says_so(cli: Run, bundle: Path, train_file: Path) -> None:
    ran = cli("eval", bundle, "--data", train_file)
    assert json.loads(ran.out)["f1"] == json.loads((bundle / "metrics.json").read_text())["dev"]["f1"]
    assert "exported\n" in ran.err
    assert "using cpu, " in cli("eval", bundle, "--data", train_file, "--backend", "torch").err


def test_the_export_runs_where_torch_and_transformers_are_not(bundle: Path) -> None:
    code = "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
    code += "from bertft.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-W", "error", "-c", code, "predict", str(bundle), "-q"]
    done = subprocess.run(command, input=TEXT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.count("\n") == len(tiny.sentences())
    refused = subprocess.run(
        [*command, "--backend", "torch"], input=TEXT, capture_output=True, text=True, timeout=120, check=False
    )
    assert refused.returncode == 4
    assert "there is no torch" in refused.stderr


def test_int8_is_kept_where_the_score_holds(cli: Run, plain: Path, train_file: Path) -> None:
    ran = cli("export", plain, "--int8", "--data", train_file, "--max-drop", 0.5)
    assert ran.code == 0, ran.err
    result = json.loads(ran.out)
    assert (result["model"], result["metric"]) == (str(plain), "f1")
    assert result["before"] - result["after"] <= 0.5
    tried = [one for one in result["candidates"] if one["dtype"] == "int8"]
    assert tried[-1]["kept"]
    assert all("score" in one and one["tokens_per_second"] > 0 for one in tried)
    chosen = max((one for one in result["candidates"] if one.get("kept")), key=lambda one: one["tokens_per_second"])
    assert (result["engine"], result["dtype"]) == (chosen["engine"], chosen["dtype"])
    assert (plain / "onnx" / "int8.xml").exists() == (result["dtype"] == "int8")
    stored = json.loads((plain / "onnx" / "export.json").read_text())
    assert (stored["engine"], stored["dtype"]) == (result["engine"], result["dtype"])
    assert cli("predict", plain, "-q", stdin=TEXT).code == 0


def test_a_full_disk_is_an_error_of_the_output(cli: Run, plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bertft.export import graph

    def write(model: object, path: Path, **_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(graph, "write", write)
    cli("export", plain).fails(3, "cannot write: No space left on device")
    assert not list(plain.glob("onnx*"))


def test_int8_that_loses_the_score_is_exit_1_and_the_next_best_is_exported(
    cli: Run, plain: Path, train_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bertft.export import quantize
    from bertft.export.run import _Exporter

    def write(graph: Path, path: Path, setting: str, batches: object) -> None:
        original_write(graph, path, "weights", ())
        written.append(setting)

    def load(self: _Exporter, candidate: Any) -> Any:
        backend = original_load(self, candidate)
        if candidate.dtype == "int8":
            bad.append(backend)
        return backend

    def score(self: _Exporter, backend: Any) -> float:
        return 0.25 if any(backend is one for one in bad) else original_score(self, backend)

    written: list[str] = []
    bad: list[Any] = []
    original_write, original_load, original_score = quantize.write, _Exporter._load, _Exporter._score
    monkeypatch.setattr(quantize, "write", write)
    monkeypatch.setattr(_Exporter, "_load", load)
    monkeypatch.setattr(_Exporter, "_score", score)
    ran = cli("export", plain, "--int8", "--data", train_file)
    assert ran.code == 1
    result = json.loads(ran.out)
    assert ran.err.splitlines()[-2:] == [
        "error: int8 does not keep f1 100.0: 25.0 with weights and activations, "
        "25.0 with all but the last layers, 25.0 with weights",
        f"   help: {result['engine']} {result['dtype']} is exported in its place; `--max-drop` allows more",
    ]
    assert written == list(quantize.SETTINGS)
    fastest = max(
        (one for one in result["candidates"] if one["dtype"] != "int8"), key=lambda one: one["tokens_per_second"]
    )
    assert (result["engine"], result["dtype"]) == (fastest["engine"], fastest["dtype"])
    assert result["after"] == result["before"] == 1.0
    assert not (plain / "onnx" / "int8.xml").exists()
    assert cli("predict", plain, "-q", stdin=TEXT).code == 0


def test_a_candidate_with_other_logits_is_left_out(cli: Run, plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bertft.export import run

    monkeypatch.setattr(run, "_TOLERANCE", {"fp32": 1e-3, "bf16": 0.0})
    result = json.loads(cli("export", plain).out)
    assert result["dtype"] == "fp32"
    monkeypatch.setattr(run, "_TOLERANCE", {"fp32": -1.0, "bf16": -1.0})
    cli("export", plain, "--overwrite").fails(4, "no engine gives the model's logits", "fp32 is left out")
    assert json.loads((plain / "onnx" / "export.json").read_text())["dtype"] == "fp32"  # the one that was there


def test_a_value_is_exported_and_predicted(cli: Run, encoder: Path, tmp_path: Path) -> None:
    rows = [{"text": " ".join(word for word, _ in row), "label": len(row) + 0.5} for row in tiny.sentences()]
    data, out = tmp_path / "rows.jsonl", tmp_path / "model"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    quick = ("--set", "trainer.num_train_epochs=2", "--set", "trainer.bf16=false", "-q")
    assert cli("train", "regress", "--data", data, "--model", encoder, "--out", out, *quick).code == 0
    result = json.loads(cli("export", out, "--data", data, "--columns", "label=label").out)
    assert (result["metric"], result["after"]) == ("pearson", pytest.approx(result["before"], abs=0.005))
    answers = [cli("predict", out, data, "-q", "--backend", name).out.splitlines() for name in ("auto", "torch")]
    for found, wanted in zip(*answers, strict=True):
        value = json.loads(wanted)["prediction"]["value"]
        assert json.loads(found)["prediction"]["value"] == pytest.approx(value, abs=0.05)


def test_an_export_of_other_weights_is_refused(cli: Run, bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    cli("predict", copy, stdin="a\n").fails(4, "made of other weights", "--overwrite", "--backend torch")
    (copy / "model.safetensors").unlink()  # a machine that only predicts need not have them
    assert cli("predict", copy, "-q", stdin="a\n").code == 0


def test_nothing_is_reported_to_anybody(bundle: Path, train_file: Path, tmp_path: Path) -> None:
    """The engines report their use by themselves, but not in CI and not under pytest: so as a user would have it."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.settimeout(1)
        proxy = f"http://127.0.0.1:{listening.getsockname()[1]}"
        kept = {key: value for key, value in os.environ.items() if key != "CI" and not key.startswith("PYTEST")}
        proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"), proxy)
        environment = {**kept, **proxies, "HOME": str(tmp_path)}
        copy = str(shutil.copytree(bundle, tmp_path / "copy"))
        export = ["export", copy, "--overwrite", "--int8", "--max-drop", "0.9", "--data", str(train_file)]
        for arguments in (export, ["predict", copy], ["predict", copy, "--backend", "onnxruntime"]):
            command = [sys.executable, "-m", "bertft", *arguments, "-q"]
            done = subprocess.run(
                command, input="a\n", env=environment, capture_output=True, text=True, timeout=300, check=False
            )
            assert done.returncode == 0, done.stderr
        with pytest.raises(TimeoutError):
            listening.accept()
    assert not (tmp_path / "intel").exists()
    assert not (tmp_path / ".cache" / "Microsoft").exists()


def test_what_cannot_be_exported_is_refused(
    cli: Run, plain: Path, bundle: Path, encoder: Path, train_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("export", plain, "--int8").fails(2, "--data")
    cli("export", plain, "--max-drop", 2).fails(2, "--max-drop")
    cli("export", plain, "--limit", 2).fails(2, "--data, which is missing")
    cli("export", plain, "--data", "nothing.csv").fails(3, "there is no file")
    cli("export", bundle).fails(2, "exists already", "--overwrite")
    cli("export", encoder).fails(4, "no trained head")
    cli("predict", plain, "--backend", "openvino", stdin="a").fails(4, "is not exported", "bertft export")
    cli("predict", bundle, "--backend", "openvino", "--device", "cuda", stdin="a").fails(2, "--device cuda")
    from bertft.bundle import exported
    from bertft.export import run

    monkeypatch.setattr(exported, "installed", list)
    monkeypatch.setattr(run, "installed", list)
    cli("export", plain).fails(2, "neither openvino nor onnxruntime", "bertft[export]")
    cli("predict", bundle, "--backend", "openvino", stdin="a").fails(2, "pip install openvino")
    assert "using cpu" in cli("predict", bundle, stdin="a\n").err
    assert not (plain / "onnx").exists()
    assert not list(plain.glob("*.partial"))


@pytest.mark.parametrize(
    ("text", "said"), [("{", "damaged"), ("{}", "damaged"), ('{"format": 1}', "damaged"), ('{"format": 2}', "newer")]
)
def test_a_damaged_export_is_a_model_error(cli: Run, bundle: Path, tmp_path: Path, text: str, said: str) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    (copy / "onnx" / "export.json").write_text(text)
    cli("predict", copy, stdin="a\n").fails(4, said)
    assert cli("predict", copy, "--backend", "torch", "-q", stdin="a\n").code == 0


def test_decoding_weights_that_are_missing_or_torn_are_a_model_error(cli: Run, bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    stored = json.loads((copy / "onnx" / "export.json").read_text())
    (copy / "onnx" / "export.json").write_text(json.dumps({**stored, "decoding": ["transitions"]}))
    cli("predict", copy, stdin="a\n").fails(4, "the export is damaged")
    (copy / "onnx" / "decoding.safetensors").write_bytes(b"torn")
    cli("predict", copy, stdin="a\n").fails(4, "the export is damaged")


def test_the_cpu_runs_the_export(cli: Run, bundle: Path) -> None:
    said = cli("predict", bundle, "--device", "cpu", stdin="a\n").err
    assert "using cpu, " in said
    assert "exported" in said


@pytest.mark.slow
def test_the_serving_environment_is_what_its_file_lists(bundle: Path, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    for what in (("-r", str(root / "constraints-serve.txt")), ("--no-deps", str(root))):
        subprocess.run([python, "-m", "pip", "install", "--quiet", *what], check=True, timeout=600)
    there = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout.split()
    assert {"torch", "transformers"}.isdisjoint(there)
    command = [str(tmp_path / "venv" / "bin" / "bertft"), "predict", str(bundle), "-q"]
    done = subprocess.run(command, input=TEXT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == len(tiny.sentences())
