"""`embed`: the vectors of sentence-transformers, in the order of the records, in each format."""

from __future__ import annotations

import io
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
from cli.conftest import Run

from bertft.encoders import embedded

TEXTS = [
    "A cat sat on the mat .",
    "",
    "Größe, naïve café: 東京 and नमस्ते 🙂",
    "the same words again and again " * 120,
    "Zippyparcel took $45.99 from me twice!",
]
Vectors = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("embed") / "texts.jsonl"
    path.write_text("".join(json.dumps({"n": i, "text": text}) + "\n" for i, text in enumerate(TEXTS)))
    return path


def vectors(out: str) -> Vectors:
    return np.array([json.loads(line)["embedding"] for line in out.splitlines()], dtype=np.float32)


def encoded(directory: Path, texts: list[str]) -> Vectors:
    """Return what sentence-transformers makes of texts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(directory), device="cpu", local_files_only=True)
        return np.asarray(model.encode(texts, show_progress_bar=False))


@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
@pytest.mark.parametrize("old", [True, False])
def test_vectors_are_those_of_sentence_transformers(
    cli: Run, sentences: Path, tmp_path: Path, pooling: str, old: bool
) -> None:
    directory = tmp_path / "encoder"
    shutil.copytree(embedded.locate(), directory)
    name = f"pooling_mode_{pooling}_token{'s' * (pooling != 'cls')}"
    config = {"word_embedding_dimension": 384, name: True}
    if not old:
        config = {"embedding_dimension": 384, "pooling_mode": pooling}
    (directory / "1_Pooling/config.json").write_text(json.dumps(config))
    if not old:  # and without the last module, which normalises
        modules = json.loads((directory / "modules.json").read_text())
        (directory / "modules.json").write_text(json.dumps(modules[:2]))
    ran = cli("embed", directory, sentences, "--device", "cpu")
    assert "as its modules.json says" in ran.err
    assert "1 examples cut off" in ran.err
    assert [json.loads(line)["n"] for line in ran.out.splitlines()] == [*range(len(TEXTS))]
    np.testing.assert_allclose(vectors(ran.out), encoded(directory, TEXTS), atol=1e-5)


def test_every_format_has_the_same_vectors(cli: Run, sentences: Path, tmp_path: Path) -> None:
    expected = vectors(cli("embed", "embedded", sentences, "-q").out)
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, atol=1e-6)
    for name in ("npy", "parquet"):
        assert cli("embed", "embedded", sentences, "--to", name, "--out", tmp_path / name, "-q").code == 0
    found = np.load(tmp_path / "npy")
    assert (found.dtype, found.shape) == (np.dtype("float32"), expected.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    table = pq.read_table(tmp_path / "parquet")
    assert table.column_names == ["n", "text", "embedding"]
    assert table["text"].to_pylist() == TEXTS
    np.testing.assert_array_equal(np.array(table["embedding"].to_pylist(), dtype=np.float32), found)


def test_text_on_stdin_is_embedded_line_by_line(cli: Run, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    ran = cli("embed", "embedded", "--pooling", "cls", "--no-normalize", stdin="one\n\ntwo\n")
    assert [json.loads(line)["text"] for line in ran.out.splitlines()] == ["one", "", "two"]
    assert "the first token, as asked for; 512 tokens" in ran.err
    assert abs(np.linalg.norm(vectors(ran.out)[0]) - 1) > 0.1
    from bertft.cli import main

    path = io.BytesIO()
    assert main(["embed", "embedded", "/dev/null", "--to", "npy", "-q"]) == 0
    path.write(capsysbinary.readouterr().out)
    path.seek(0)
    assert np.load(path).shape == (0, 0)


def test_a_trained_model_embeds_too(cli: Run, model: Path) -> None:
    ran = cli("embed", model, "--field", "v", stdin='{"text": "one", "embedding": 3}\n')
    (row,) = map(json.loads, ran.out.splitlines())
    assert row["embedding"] == 3
    assert len(row["v"]) == 32
    assert "the mean of the tokens, by default" in ran.err
    np.testing.assert_allclose(np.array([row["v"]]), encoded(model, ["one"]), atol=1e-5)


@pytest.mark.parametrize(
    ("module", "said"), [("Dense", "a module of Dense"), ("LSTM", "a module of LSTM"), ("Pooling", "weightedmean")]
)
def test_modules_that_are_not_known_are_refused(
    cli: Run, encoder: Path, tmp_path: Path, module: str, said: str
) -> None:
    directory = tmp_path / "encoder"
    shutil.copytree(encoder, directory)
    (directory / "1_X").mkdir()
    (directory / "1_X/config.json").write_text('{"pooling_mode_weightedmean_tokens": true}')
    modules = [
        {"type": "sentence_transformers.models.Transformer", "path": ""},
        {"type": f"a.b.{module}", "path": "1_X"},
    ]
    (directory / "modules.json").write_text(json.dumps(modules))
    cli("embed", directory, stdin="x\n").fails(4, said)
    assert cli("embed", directory, "--pooling", "mean", stdin="x\n").code == 0


def test_what_cannot_be_is_one_clear_error(cli: Run, sentences: Path, tmp_path: Path) -> None:
    cli("embed", "embedded", sentences, "--to", "npy", "--on-error", "skip").fails(2, "--on-error skip")
    cli("embed", "embedded", sentences, "--to", "npy", "--resume", "--out", tmp_path / "x").fails(2, "--resume")
    cli("embed", "embedded", tmp_path / "none.txt").fails(3, "none.txt")
    cli("embed", tmp_path / "none", stdin="x\n").fails(4)
    cli("embed", "embedded", stdin='{"text": 3}\n').fails(3, "`text` is no text")
    mixed = '{"text": "a", "n": 1}\n' + '{"text": "b", "n": "x"}\n'
    cli("embed", "embedded", "--to", "parquet", stdin=mixed).fails(3, "no common fields")


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ('"id": 7', "a field 'id', which the first one has not"),
        ('"n": 1180591620717411303424', "no common fields"),
        ('"n": {}', "no common fields"),
    ],
)
def test_no_field_is_lost_in_a_table(cli: Run, encoder: Path, second: str, said: str) -> None:
    rows = '{"text": "a", "n": null}\n{"text": "b", ' + second + "}\n"
    cli("embed", encoder, "--to", "parquet", stdin=rows).fails(3, said)


def test_a_family_without_bf16_is_refused_it(
    cli: Run, base: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bertft.inference.pytorch.native_bf16", lambda _: True)
    cli("embed", base("deberta"), "--precision", "bf16", stdin="one\n").fails(2, "--precision bf16: this family")


def test_an_interrupted_run_goes_on_only_as_it_was(cli: Run, tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps({"text": f"text {i}"}) + "\n" for i in range(1100)) + '{"text": 3}\n')
    cli("embed", "embedded", source, "--out", out, "-q").fails(3)
    cli("embed", "embedded", source, "--out", out, "--resume", "--pooling", "cls").fails(2, "the engine")
    assert cli("embed", "embedded", source, "--out", out, "--resume", "--on-error", "skip").code == 0
    assert len(out.read_text().splitlines()) == 1100
