"""Tiny encoders of every family, built in code: tokenizers trained on the text below, random weights, no head.

`build(family, directory)` writes a base checkpoint as `--model DIR` takes it. Real checkpoints of the same family have
the same tokenizer pipeline and configuration class; only the sizes differ. `SAME` lists the families that need no entry
of their own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

Sentence = list[tuple[str, str]]

_PEOPLE = ("Ada Stone", "Maria", "Tomas Berg", "Li")
_PLACES = ("Paris", "New Haven", "Lima", "Rome")
_FIRMS = ("Acme", "Blue River Bank", "Zenith")
_TEMPLATES = (
    ("{PER} lives in {LOC} .", ("PER", "LOC")),
    ("{ORG} hired {PER} last week .", ("ORG", "PER")),
    ("They moved from {LOC} to work for {ORG} .", ("LOC", "ORG")),
)
_TEXT = (
    "The quick brown fox jumps over the lazy dog and runs home before the rain.",
    "Nobody knew why the old clock stopped at noon, but everyone was late.",
    "Prices rose by 3.50 in March; the bank's letter came on 12 April 2024.",
    "Ein kleines Café am Fluss verkauft Brötchen, naïve Träume und Käse.",
    "unbelievable misunderstandings are sometimes unavoidable in international relationships",
)


def sentences() -> list[Sentence]:
    """Return 32 sentences as (word, BIO tag) pairs."""
    fillers = {"PER": _PEOPLE, "LOC": _PLACES, "ORG": _FIRMS}
    found = []
    for template, kinds in _TEMPLATES:
        for names in product(*(fillers[kind] for kind in kinds)):
            chosen = dict(zip(kinds, names, strict=True))
            sentence: Sentence = []
            for item in template.split():
                if item.startswith("{"):
                    kind = item.strip("{}")
                    sentence += [(w, f"{'I' if i else 'B'}-{kind}") for i, w in enumerate(chosen[kind].split())]
                else:
                    sentence.append((item, "O"))
            found.append(sentence)
    return found[:32]


def conll(rows: list[Sentence]) -> str:
    """Return the sentences as a two-column file."""
    return "".join("".join(f"{word}\t{tag}\n" for word, tag in row) + "\n" for row in rows)


@dataclass(frozen=True, slots=True)
class Family:
    """How a family's tokenizer and configuration are made. `glues` means: pre-split words need `add_prefix_space`."""

    tokenizer: Callable[[], Tokenizer]
    config: str
    tokenizer_config: dict[str, Any]
    sizes: dict[str, Any]
    glues: bool = False


_BERT_TEMPLATE = ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")
_ROBERTA_TEMPLATE = ("<s> $A </s>", "<s> $A </s> </s> $B </s>")


def _corpus() -> list[str]:
    return [*_TEXT, *(" ".join(word for word, _ in row) for row in sentences())]


def _wordpiece(
    *,
    lowercase: bool,
    specials: tuple[str, ...] = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    template: tuple[str, str] = _BERT_TEMPLATE,
) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    # the trainer meets words in an order by chance, which numbers what it merges, and merges the first of equals
    letters = sorted(set(tokenizer.normalizer.normalize_str("".join(_corpus()))) - {" "})
    pieces = [*specials, *letters, *(f"##{letter}" for letter in letters)]
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=pieces, show_progress=False)
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.normalizer, learner.pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
    learner.train_from_iterator(_corpus(), trainer)
    tokenizer.model = models.WordPiece(learner.get_vocab(), unk_token="[UNK]")
    tokenizer.add_special_tokens(list(specials))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template[0],
        pair=template[1],
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in specials],
    )
    return tokenizer


def _mpnet() -> Tokenizer:
    return _wordpiece(
        lowercase=True,
        specials=("<s>", "<pad>", "</s>", "<unk>", "[UNK]", "<mask>"),
        template=_ROBERTA_TEMPLATE,
    )


def _byte_bpe(specials: list[str], single: str, pair: str) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    ids = {name: tokenizer.token_to_id(name) for name in specials}
    tokenizer.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=list(ids.items()))
    return tokenizer


def _roberta() -> Tokenizer:
    tokenizer = _byte_bpe(["<s>", "<pad>", "</s>", "<unk>", "<mask>"], *_ROBERTA_TEMPLATE)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    return tokenizer


def _modernbert() -> Tokenizer:
    return _byte_bpe(["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"], *_BERT_TEMPLATE)


def _deberta() -> Tokenizer:
    return _byte_bpe(["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"], *_BERT_TEMPLATE)


def _unigram(
    specials: list[str], unk: str, single: str, pair: str, *, plain: bool = False, texts: Sequence[str] = ()
) -> Tokenizer:
    """`plain` is without case and accents; `texts` are more to learn from."""
    tokenizer = Tokenizer(models.Unigram())
    steps = [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()] if plain else [normalizers.NFKC()]
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" {2,}", " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=250, special_tokens=specials, unk_token=unk, show_progress=False, max_piece_length=8
    )
    tokenizer.train_from_iterator([*_corpus(), *texts], trainer)
    learnt = dict(json.loads(tokenizer.to_str())["model"]["vocab"])
    for name in specials:
        del learnt[name]
    # the trainer's sums differ in their last digits from run to run
    pieces = sorted((round(-score, 2), piece) for piece, score in learnt.items())
    vocabulary = [*((name, 0.0) for name in specials), *((piece, -score) for score, piece in pieces)]
    tokenizer.model = models.Unigram(vocabulary, unk_id=specials.index(unk))
    ids = {name: tokenizer.token_to_id(name) for name in specials}
    tokenizer.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=list(ids.items()))
    return tokenizer


def _albert(*, plain: bool = True, texts: Sequence[str] = ()) -> Tokenizer:
    specials = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
    return _unigram(specials, "<unk>", *_BERT_TEMPLATE, plain=plain, texts=texts)


_BERT_SPECIALS = {
    "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]",
}  # fmt: skip
_ROBERTA_SPECIALS = {
    "pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>",
    "bos_token": "<s>", "eos_token": "</s>",
}  # fmt: skip
_SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
# as in the published v3: positions are in the attention only
_RELATIVE = {
    "relative_attention": True, "position_biased_input": False, "max_relative_positions": -1, "type_vocab_size": 0,
    "pooler_hidden_size": 32, "max_position_embeddings": 128,
}  # fmt: skip

FAMILIES = {
    "bert-cased": Family(
        lambda: _wordpiece(lowercase=False),
        "BertConfig",
        {"tokenizer_class": "BertTokenizer", "do_lower_case": False, **_BERT_SPECIALS},
        {**_SIZES, "max_position_embeddings": 128},
    ),
    "bert-uncased": Family(
        lambda: _wordpiece(lowercase=True),
        "BertConfig",
        {"tokenizer_class": "BertTokenizer", "do_lower_case": True, **_BERT_SPECIALS},
        {**_SIZES, "max_position_embeddings": 128},
    ),
    "distilbert": Family(
        lambda: _wordpiece(lowercase=True),
        "DistilBertConfig",
        {"tokenizer_class": "DistilBertTokenizer", "do_lower_case": True, **_BERT_SPECIALS},
        {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2, "max_position_embeddings": 128},
    ),
    "electra": Family(
        lambda: _wordpiece(lowercase=True),
        "ElectraConfig",
        {"tokenizer_class": "ElectraTokenizer", "do_lower_case": True, **_BERT_SPECIALS},
        {**_SIZES, "embedding_size": 16, "max_position_embeddings": 128},
    ),
    "roberta": Family(
        _roberta,
        "RobertaConfig",
        {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": False, **_ROBERTA_SPECIALS},
        {**_SIZES, "max_position_embeddings": 130, "type_vocab_size": 1},
        glues=True,
    ),
    "modernbert": Family(
        _modernbert,
        "ModernBertConfig",
        {"tokenizer_class": "PreTrainedTokenizerFast", **_BERT_SPECIALS},
        {
            **_SIZES,
            "max_position_embeddings": 128,
            "global_attn_every_n_layers": 2,
            "local_attention": 32,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
        glues=True,
    ),
    "albert": Family(
        _albert,
        "AlbertConfig",
        {"tokenizer_class": "AlbertTokenizer", **_BERT_SPECIALS, "pad_token": "<pad>", "unk_token": "<unk>"},
        {**_SIZES, "embedding_size": 16, "max_position_embeddings": 128},
    ),
    "xlm-roberta": Family(
        lambda: _unigram(["<s>", "<pad>", "</s>", "<unk>", "<mask>"], "<unk>", *_ROBERTA_TEMPLATE),
        "XLMRobertaConfig",
        {"tokenizer_class": "XLMRobertaTokenizer", **_ROBERTA_SPECIALS},
        {**_SIZES, "max_position_embeddings": 130, "type_vocab_size": 1},
    ),
    "mpnet": Family(
        _mpnet,
        "MPNetConfig",
        {"tokenizer_class": "MPNetTokenizer", "do_lower_case": True, **_ROBERTA_SPECIALS, "unk_token": "[UNK]"},
        {**_SIZES, "max_position_embeddings": 130},
    ),
    "deberta": Family(
        _deberta,
        "DebertaConfig",
        {"tokenizer_class": "DebertaTokenizer", **_BERT_SPECIALS},
        {**_SIZES, **_RELATIVE, "pos_att_type": "c2p|p2c"},
        glues=True,
    ),
    "deberta-v3": Family(
        lambda: _unigram(["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"], "[UNK]", *_BERT_TEMPLATE),
        "DebertaV2Config",
        {"tokenizer_class": "DebertaV2Tokenizer", "do_lower_case": False, **_BERT_SPECIALS},
        {
            **_SIZES,
            **_RELATIVE,
            "pos_att_type": "p2c|c2p",
            "position_buckets": 32,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
        },
    ),
}

SAME = {
    "deberta-v2": "deberta-v3",  # one class; v2 differs in settings (a convolution, position_buckets) and size
    "indicbert": "albert",  # its tokenizer keeps accents: tests/tasks/test_families.py has that
    "indicbert-v2": "bert-cased",
    "mbert": "bert-cased",
    "muril": "bert-cased",
}
"""Families that are another one in class and tokenizer pipeline, and differ in vocabulary and weights only."""


INDIC = (
    "मैंने उसकी गेंद दी और वह यहाँ आया है।",
    "यह हमारी भाषा की पुस्तक है, उसे पढ़ो।",
    "తెలుగు భాష చాలా అందంగా ఉంటుంది.",
    "నేను ప్రతి ఉదయం పుస్తకాలు చదువుతాను.",
)


def build_indicbert(directory: Path) -> Path:
    """Write an ALBERT as IndicBERT is published: its vocabulary has vowel signs, and nothing says to keep them."""
    made = replace(FAMILIES["albert"], tokenizer=lambda: _albert(plain=False, texts=INDIC * 4))
    return _write(made, directory)


def build(name: str, directory: Path) -> Path:
    """Write the family's base checkpoint into `directory` and return it."""
    return _write(FAMILIES[name], directory)


def _write(family: Family, directory: Path) -> Path:
    import torch
    import transformers

    backend = family.tokenizer()
    ids = {
        f"{role}_id": backend.token_to_id(token)
        for role, token in family.tokenizer_config.items()
        if role in ("pad_token", "bos_token", "eos_token", "cls_token", "sep_token")
    }
    config = getattr(transformers, family.config)(vocab_size=backend.get_vocab_size(), **family.sizes, **ids)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.AutoModel.from_config(config).save_pretrained(directory)
    backend.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps(family.tokenizer_config), encoding="utf-8")
    return directory
