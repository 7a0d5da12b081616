"""What encoder families differ in: checkpoints as they are published, real vocabularies, names, what is not probed."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from bertft import heads
from bertft.encoders import families, load
from bertft.encoders.known import KNOWN, cached
from bertft.encoders.load import Tokenizer
from bertft.errors import ModelError, UsageError
from bertft.inference.pytorch import visible
from bertft.training import fit

BASE = Callable[[str], Path]


def loaded(directory: Path, *, presplit: bool = True) -> Tokenizer:
    checkpoint = load.resolve(str(directory))
    return load.load_tokenizer(checkpoint, load.load_config(checkpoint), presplit=presplit)


def classifier(directory: Path, *, allow_pickle: bool = False) -> Any:
    checkpoint = load.resolve(str(directory), allow_pickle=allow_pickle)
    return load.load_model(checkpoint, "AutoModelForSequenceClassification", ["a", "b"])[0]


@pytest.fixture
def copied(base: BASE, tmp_path: Path) -> Path:
    """A tiny BERT of our own, to be changed."""
    return Path(shutil.copytree(base("bert-cased"), tmp_path / "model"))


# -- what is not probed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_as_many_tokens_as_are_said_can_be_read_and_no_more(base: BASE, family: str) -> None:
    import transformers

    config = load.load_config(load.resolve(str(base(family))))
    limit = families.max_positions(config)
    assert limit == 128
    model = transformers.AutoModel.from_pretrained(base(family)).eval()
    ids = torch.full((1, limit + 1), 7)
    with torch.inference_mode():
        assert torch.isfinite(model(ids[:, :limit]).last_hidden_state).all()
        if family not in ("modernbert", "deberta", "deberta-v3"):  # their positions are relative
            with pytest.raises((IndexError, RuntimeError)):
                model(ids)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_which_families_take_bf16_and_fp16(base: BASE, family: str) -> None:
    config = load.load_config(load.resolve(str(base(family))))
    assert families.fp16_safe(config) == (family not in ("deberta", "deberta-v3"))
    model, ids = classifier(base(family)), torch.full((2, 9), 7)
    for kind, safe in ((torch.bfloat16, families.bf16_safe(config)), (torch.float16, family != "deberta")):
        with torch.inference_mode(), torch.autocast("cpu", kind):
            try:
                logits = model(ids, attention_mask=torch.ones_like(ids)).logits
            except RuntimeError:
                assert not safe
            else:
                assert safe
                assert torch.isfinite(logits).all()


def test_the_precision_is_one_that_the_teacher_takes_too(base: BASE, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "native_bf16", lambda _: True)
    student, teacher = (load.load_config(load.resolve(str(base(one)))) for one in ("bert-uncased", "deberta"))
    cpu = torch.device("cpu")
    assert fit._with_precision({}, cpu, [student])[1] == "bf16"
    assert fit._with_precision({}, cpu, [student, teacher])[1] == "fp32"
    with pytest.raises(UsageError, match="bf16: deberta does not train in bf16"):
        fit._with_precision({"bf16": True}, cpu, [student, teacher])


def test_one_gpu_of_several_is_shown_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    started = False
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: started)
    visible.cache_clear()
    assert visible("cuda:1") == "cuda:0"
    started = True
    assert visible("cuda:1") == "cuda:0"  # of a second training in the process
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"
    assert [visible(device) for device in ("cpu", "auto", "cuda", "cuda:2")] == ["cpu", "auto", "cuda", "cuda:2"]
    started = False
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # all are hidden
    visible.cache_clear()
    assert visible("cuda:1") == "cuda:1"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    visible.cache_clear()


@pytest.mark.parametrize(
    ("kind", "width", "rate"),
    [("bert", 384, 1e-4), ("bert", 768, 5e-5), ("roberta", 1024, 2e-5), ("deberta-v2", 768, 2e-5)],
)
def test_learning_rates_are_for_the_size(kind: str, width: int, rate: float) -> None:
    assert families.learning_rate(SimpleNamespace(model_type=kind, hidden_size=width)) == rate
    assert families.learning_rate(SimpleNamespace(model_type=kind, dim=width)) == rate


# -- names -------------------------------------------------------------------------------------------------------------


def hub_cache(monkeypatch: pytest.MonkeyPatch, root: Path, hub_id: str, source: Path) -> Path:
    """Put a checkpoint into a Hub cache as if it had been downloaded; return its snapshot."""
    import huggingface_hub.constants

    repository = root / f"models--{hub_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / "abc"
    shutil.copytree(source, snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(root))
    return snapshot


def test_a_path_wins_over_a_short_name_and_that_over_a_hub_id(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "hub"
    hub_cache(monkeypatch, root, "nobody/nothing", copied)
    found = load.resolve("muril")
    assert (found.name, found.location, found.is_directory) == ("muril", "google/muril-base-cased", False)
    snapshot = hub_cache(monkeypatch, root, "google/muril-base-cased", copied)
    assert load.resolve("muril").location == str(snapshot)
    assert load.resolve("google/muril-base-cased").location == str(snapshot)
    copied.rename(tmp_path / "muril")
    assert load.resolve("muril").location == "muril"
    (tmp_path / "muril" / "config.json").unlink()
    with pytest.raises(ModelError, match="no model") as caught:
        load.resolve("muril")
    assert "google/muril-base-cased" in str(caught.value)


def test_ids_of_older_caches_are_found(copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = hub_cache(monkeypatch, tmp_path / "hub", "roberta-base", copied)
    assert load.resolve("roberta-base").location == str(snapshot)
    (snapshot / "model.safetensors").unlink()  # a configuration alone is no model
    assert cached("roberta-base") is None
    assert not KNOWN["roberta-base"].is_here


def test_a_misspelt_short_name_gets_a_proposal(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = load.resolve("deberta-v3-bas")
    with pytest.raises(ModelError, match="did you mean 'deberta-v3-base'"), load._loading(checkpoint):
        raise OSError("not found")


@pytest.mark.parametrize("name", KNOWN)
def test_known_encoders_say_what_they_are(name: str) -> None:
    encoder = KNOWN[name]
    assert encoder.name == name
    assert encoder.hub_id.count("/") == 1
    assert 0 < len(encoder.when) < 90
    assert "\n" not in encoder.when


# -- pytorch_model.bin -------------------------------------------------------------------------------------------------


def pickled(directory: Path, more: dict[str, Any] | None = None, **settings: Any) -> dict[str, torch.Tensor]:
    """Replace a checkpoint's weights by a `pytorch_model.bin`; return them."""
    weights: dict[str, torch.Tensor] = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    torch.save({**weights, **(more or {})}, directory / "pytorch_model.bin", **settings)
    return weights


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_of_weights_is_read_said_once_and_saved_as_safetensors(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], zipped: bool
) -> None:
    weights = pickled(copied, _use_new_zipfile_serialization=zipped)
    model = classifier(copied, allow_pickle=True)
    classifier(copied, allow_pickle=True)
    assert capsys.readouterr().err.count("pytorch_model.bin is a pickle; it is read with weights_only=True") == 1
    heads.save(model, tmp_path / "saved")
    names = {path.name for path in (tmp_path / "saved").iterdir()}
    assert "model.safetensors" in names
    assert not any(name.endswith(".bin") for name in names)
    saved = load_file(tmp_path / "saved" / "model.safetensors")
    for name, value in weights.items():
        assert torch.equal(saved[f"bert.{name}"], value)


def test_a_pickle_in_the_hub_cache_is_read(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pickled(copied)
    hub_cache(monkeypatch, tmp_path / "hub", "microsoft/deberta-v3-base", copied)
    checkpoint = load.resolve("deberta-v3-base")
    assert checkpoint.is_directory
    load.load_model(checkpoint, "AutoModelForSequenceClassification", ["a", "b"])
    assert "is a pickle" in capsys.readouterr().err


class Malicious:
    """What leaves a file behind when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._trace),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_pickle_runs_nothing_and_is_one_clear_error(copied: Path, tmp_path: Path, zipped: bool) -> None:
    trace = tmp_path / "trace"
    pickle.loads(pickle.dumps(Malicious(trace)))
    trace.rmdir()  # it does what it says
    pickled(copied, {"bait": Malicious(trace)}, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelError, match=r"pytorch_model\.bin holds something else than weights") as caught:
        classifier(copied, allow_pickle=True)
    assert not trace.exists()
    assert "weights_only" not in str(caught.value)  # torch's own message advises to switch the check off
    assert caught.value.place == str(copied)


def test_a_damaged_pickle_is_an_error(copied: Path) -> None:
    pickled(copied)
    (copied / "pytorch_model.bin").write_bytes(b"\x80\x04 nonsense")
    with pytest.raises(ModelError):
        classifier(copied, allow_pickle=True)


# -- tokenizers as they are published ----------------------------------------------------------------------------------


def test_vowel_signs_that_the_vocabulary_has_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from transformers import AutoTokenizer

    directory = tiny.build_indicbert(tmp_path / "indicbert")
    settings = json.loads((directory / "tokenizer_config.json").read_text())
    assert "keep_accents" not in settings
    plain = AutoTokenizer.from_pretrained(directory)
    assert plain("यहाँ")["input_ids"] == plain("यह")["input_ids"]  # what happens otherwise
    for presplit in (True, False):
        tokenizer = loaded(directory, presplit=presplit)
        there, this = tokenizer.subwords.encode_texts(["यहाँ", "यह"])
        assert there.ids != this.ids
        assert not there.unknown
    assert "vowel signs" in capsys.readouterr().err
    tokenizer.pretrained.save_pretrained(tmp_path / "saved")
    saved = AutoTokenizer.from_pretrained(tmp_path / "saved")
    for text in tiny.INDIC:
        (ours,) = tokenizer.subwords.encode_texts([text])
        assert tokenizer.subwords.single.build(ours.ids)[0] == saved(text)["input_ids"]
    (directory / "tokenizer_config.json").write_text(json.dumps({**settings, "keep_accents": False}))
    there, this = loaded(directory).subwords.encode_texts(["यहाँ", "यह"])
    assert there.ids == this.ids  # as the checkpoint says


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_nothing_is_kept_that_the_vocabulary_has_not(
    base: BASE, family: str, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded(base(family))
    assert "they are kept" not in capsys.readouterr().err


@pytest.mark.parametrize("family", ["bert-cased", "bert-uncased"])
def test_a_vocabulary_alone_says_whether_it_is_cased(base: BASE, family: str, tmp_path: Path) -> None:
    """Cased checkpoints with a vocab.txt and no tokenizer_config.json are lowercased by transformers' default."""
    directory = Path(shutil.copytree(base(family), tmp_path / "bare"))
    ids = loaded(directory).subwords.encode_texts(["Ada Stone"])[0].ids
    vocabulary = json.loads((directory / "tokenizer.json").read_text())["model"]["vocab"]
    (directory / "vocab.txt").write_text("".join(f"{piece}\n" for piece in sorted(vocabulary, key=vocabulary.get)))
    (directory / "tokenizer.json").unlink()
    (directory / "tokenizer_config.json").unlink()
    assert loaded(directory).subwords.encode_texts(["Ada Stone"])[0].ids == ids


def test_the_saved_albert_tokenizer_makes_segment_ids(base: BASE, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = loaded(base("albert"))
    tokenizer.pretrained.save_pretrained(tmp_path)
    first, second = tokenizer.subwords.encode_texts(["one text", "another"])
    ids, segments = tokenizer.subwords.pair.build(first.ids, second.ids)
    saved = AutoTokenizer.from_pretrained(tmp_path)("one text", "another")
    assert (saved["input_ids"], saved["token_type_ids"]) == (ids, segments)


# -- real vocabularies -------------------------------------------------------------------------------------------------

REAL = {
    "bert-base-cased": ("BertConfig", {"do_lower_case": False}, {}),
    "bert-base-multilingual-cased": ("BertConfig", {"do_lower_case": False}, {}),
    "roberta-base": ("RobertaConfig", {}, {"type_vocab_size": 1, "max_position_embeddings": 514}),
    "albert-base-v2": ("AlbertConfig", {}, {"embedding_size": 16}),
}
WORDS = (
    "Übergrößen", "Straße", "naïve", "Käse", "Jalapeño", "İstanbul", "यहाँ", "हिन्दी", "తెలుగు", "భాష", "😀", "👩‍👩‍👧‍👦",
    "🇫🇷", "\u200b", "\u00ad", "Paris", ",", "don't", "3.50", "日本語", "e\u0301", "word\u200bword", "ﬁne",
)  # fmt: skip
NEEDS_SENTENCEPIECE = pytest.mark.skipif(
    find_spec("sentencepiece") is None or find_spec("google") is None or find_spec("google.protobuf") is None,
    reason="needs sentencepiece and protobuf: pip install 'bertft[sentencepiece]'",
)


def published(shared: Path, name: str, directory: Path) -> Path:
    """Put a published vocabulary and a tiny model with random weights together."""
    import transformers

    source = shared / "tokenizers" / name
    if not source.is_dir():
        pytest.skip(f"needs the vocabulary {source}")
    shutil.copytree(source, directory)
    class_name, tokenizer, sizes = REAL[name]
    if not (directory / "tokenizer_config.json").is_file():
        (directory / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    (directory / "config.json").unlink(missing_ok=True)
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64, **sizes}
    config = getattr(transformers, class_name)(**small)
    config.save_pretrained(directory)
    vocabulary = len(transformers.AutoTokenizer.from_pretrained(directory))
    config.vocab_size = vocabulary
    torch.manual_seed(0)
    transformers.AutoModel.from_config(config).save_pretrained(directory)
    return directory


real = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=NEEDS_SENTENCEPIECE if name.startswith("albert") else ()) for name in REAL]
)


@real
def test_ids_and_alignment_with_published_vocabularies(shared: Path, tmp_path: Path, name: str) -> None:
    import transformers

    directory = published(shared, name, tmp_path / name)
    words, texts = loaded(directory).subwords, loaded(directory, presplit=False).subwords
    loaded(directory).pretrained.save_pretrained(tmp_path / "words")
    saved = transformers.AutoTokenizer.from_pretrained(tmp_path / "words")
    plain = transformers.AutoTokenizer.from_pretrained(directory)
    some = st.one_of(st.sampled_from(WORDS), st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8))

    @given(given_words=st.lists(some, max_size=20))
    def check(given_words: list[str]) -> None:
        ours, theirs = words.encode_words([given_words])[0], saved(given_words, is_split_into_words=True)
        assert len(ours.first) == len(given_words)
        if not ours.vanished:
            assert words.single.build(ours.ids)[0] == theirs["input_ids"]
            starts = [theirs.word_ids().index(word) - len(words.single.before) for word in range(len(given_words))]
            assert ours.first == starts
        words.check([given_words])
        text = " ".join(given_words)
        (alone,) = texts.encode_texts([text])
        assert texts.single.build(alone.ids)[0] == plain(text)["input_ids"]
        pair = plain(text, "Übergrößen in Paris")
        second = texts.encode_texts(["Übergrößen in Paris"])[0]
        assert texts.pair.build(alone.ids, second.ids)[0] == pair["input_ids"]

    check()
    answer = words.encode_words([WORDS])[0]
    # of "\u200b" and "\u00ad", BERT's normaliser removes both and ALBERT's one; bytes know them all
    assert answer.vanished == {"bert": 2, "albert": 1, "roberta": 0}[name.partition("-")[0]]
    checkpoint = load.resolve(str(directory))
    model, _ = load.load_model(checkpoint, "AutoModelForTokenClassification", ["O", "B-X"])
    with torch.inference_mode():
        logits = model(torch.tensor([words.single.build(answer.ids)[0]])).logits
    assert torch.isfinite(logits).all()


def test_the_multilingual_vocabulary_knows_scripts_that_the_english_one_does_not(shared: Path, tmp_path: Path) -> None:
    texts = ["हिन्दी भाषा", "తెలుగు భాష", "Übergrößen"]
    unknown = {
        name: [one.unknown for one in loaded(published(shared, name, tmp_path / name)).subwords.encode_texts(texts)]
        for name in ("bert-base-cased", "bert-base-multilingual-cased")
    }
    assert unknown["bert-base-multilingual-cased"] == [0, 0, 0]
    assert unknown["bert-base-cased"][1] > 0


WITHOUT = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "sentencepiece" else find(name, package)
from bertft.encoders import load
from bertft.errors import ModelError, UsageError
from bertft.inference.pytorch import visible
from bertft.training import fit
checkpoint = load.resolve(sys.argv[1])
try:
    load.load_tokenizer(checkpoint, load.load_config(checkpoint))
except ModelError as error:
    print(error)
"""


def test_a_missing_sentencepiece_is_one_clear_error(shared: Path) -> None:
    source = shared / "tokenizers" / "albert-base-v2"
    if not source.is_dir():
        pytest.skip(f"needs the vocabulary {source}")
    arguments = [sys.executable, "-W", "ignore", "-c", WITHOUT, str(source)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("the tokenizer is a SentencePiece model, and to read it sentencepiece"), done.stderr
    assert f"--> {source}" in done.stdout
    assert "pip install 'bertft[sentencepiece]'" in done.stdout
    assert not done.stderr
