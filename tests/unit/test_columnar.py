"""Parquet, Arrow, saved data sets and the Hub's cache: rows with names for ClassLabels, nothing asked of a network."""

from __future__ import annotations

import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bertft.data import columnar, formats
from bertft.data.row import Part
from bertft.errors import BertftError, DataError, UsageError

TRAIN = Part(None, "train")
ROWS = [
    {"text": "a fine tin", "label": 1, "tags": [0, 1, 0]},
    {"text": "it leaks", "label": 0, "tags": [0, 0]},
    {"text": "no label", "label": -1, "tags": None},
]
NAMED = [
    {"text": "a fine tin", "label": "good", "tags": ["O", "B-X", "O"]},
    {"text": "it leaks", "label": "bad", "tags": ["O", "O"]},
    {"text": "no label", "label": None, "tags": None},
]


def features() -> Any:
    import datasets

    classes = {"label": datasets.ClassLabel(names=["bad", "good"])}
    tags = datasets.Sequence(datasets.ClassLabel(names=["O", "B-X"]))
    return datasets.Features({"text": datasets.Value("string"), **classes, "tags": tags})


def saved() -> Any:
    import datasets

    return datasets.Dataset.from_list(ROWS, features=features())


def read(path: Path | str, part: Part = TRAIN) -> list[dict[str, Any]]:
    return [dict(row.values) for row in columnar.read(str(path), part).rows]


def test_parquet_is_read_in_batches_with_the_number_of_each_row(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    count = 2 * columnar.BATCH_ROWS + 1
    pq.write_table(pa.table({"text": [f"text {i}" for i in range(count)], "label": ["a"] * count}), path)
    assert columnar.is_arrow(str(path))
    assert columnar.parts(str(path)) == ()
    found = columnar.read(str(path), TRAIN)
    assert found.description == f"Parquet, {count} rows"
    rows = list(found.rows)
    assert [row.values["text"] for row in rows] == [f"text {i}" for i in range(count)]
    assert str(rows[-1].place) == f"{path}:{count}"


def test_values_are_those_that_json_can_have(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    columns = {
        "text": ["a"],
        "day": [datetime.date(2020, 2, 1)],
        "price": [decimal.Decimal("1.50")],
        "kind": pa.array(["x"]).dictionary_encode(),
        "answers": [{"text": ["a"], "answer_start": [0]}],
        "image": [{"bytes": b"\0", "path": None}],
        "raw": [b"\0"],
        "__index_level_0__": [7],
    }
    pq.write_table(pa.table(columns), path)
    found = columnar.read(str(path), TRAIN)
    assert found.description.endswith("; left out, as it is no text: image, raw")
    values = next(found.rows).values
    assert json.loads(json.dumps(dict(values))) == {
        "text": "a",
        "day": "2020-02-01",
        "price": "1.50",
        "kind": "x",
        "answers": {"text": ["a"], "answer_start": [0]},
    }


def test_arrow_files_and_streams_are_read(tmp_path: Path) -> None:
    table = pa.table({"text": ["a", "b"]})
    for name, writer in (("file", pa.ipc.new_file), ("stream", pa.ipc.new_stream)):
        path = tmp_path / f"{name}.arrow"
        with writer(path, table.schema) as out:
            out.write_table(table)
        assert columnar.is_arrow(str(path))
        assert read(path) == [{"text": "a"}, {"text": "b"}]


def test_saved_data_sets_give_names_for_numbers(tmp_path: Path) -> None:
    saved().save_to_disk(str(tmp_path / "one"))
    assert columnar.is_arrow(str(tmp_path / "one"))
    assert columnar.parts(str(tmp_path / "one")) == ()
    assert read(tmp_path / "one") == NAMED
    saved().to_parquet(str(tmp_path / "x.parquet"))
    assert read(tmp_path / "x.parquet") == NAMED


def test_saved_data_sets_have_parts(tmp_path: Path) -> None:
    import datasets

    datasets.DatasetDict({"train": saved(), "validation": saved().select([1])}).save_to_disk(str(tmp_path / "d"))
    assert columnar.parts(str(tmp_path / "d")) == ("train", "validation")
    assert read(tmp_path / "d", Part(None, "dev")) == NAMED[1:2]
    assert read(tmp_path / "d", Part("validation+train", "train")) == [NAMED[1], *NAMED]
    with pytest.raises(DataError, match="none of them is called `test`"):
        read(tmp_path / "d", Part(None, "test"))


def test_directories_of_parquet_as_the_hub_has_them(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"):
        pq.write_table(pa.table({"text": [name]}), tmp_path / "data" / f"{name}.parquet")
    assert columnar.parts(str(tmp_path)) == ("test", "train")
    assert read(tmp_path) == [{"text": "train-00000-of-00002"}, {"text": "train-00001-of-00002"}]
    (tmp_path / "flat").mkdir()
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "flat" / "part-0.parquet")
    assert columnar.parts(str(tmp_path / "flat")) == ()
    assert read(tmp_path / "flat") == [{"text": "a"}]


def test_damaged_missing_and_other_files_are_refused(tmp_path: Path) -> None:
    bad = tmp_path / "bad.parquet"
    bad.write_bytes(b"PAR1" + b"\0" * 40)
    other = tmp_path / "x.csv"
    other.write_text("text,label\n")
    assert not columnar.is_arrow(str(other))
    assert not columnar.is_arrow(str(tmp_path / "missing.parquet"))
    (tmp_path / "empty").mkdir()
    assert not columnar.is_arrow(str(tmp_path / "empty"))
    for path in (bad, tmp_path / "missing.parquet"):
        with pytest.raises(DataError) as caught:
            read(path)
        assert str(caught.value.place) == str(path)
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "good.parquet")
    with pytest.raises(DataError, match="no part 'dev'"):
        read(tmp_path / "good.parquet", Part("dev", "train"))
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(DataError, match="names no files"):
        read(tmp_path)


# -- the Hub --------------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of `datasets`, with the Hub switched off."""
    import datasets.config
    from huggingface_hub import constants

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def fill(cache: Path, config: str, **splits: list[dict[str, Any]]) -> None:
    """Write a data set `owner/tins` as `load_dataset` leaves it in its cache."""
    import datasets
    from datasets.arrow_writer import ArrowWriter

    folder = cache / "owner___tins" / config / "0.0.0" / "abc"
    folder.mkdir(parents=True)
    for split, rows in splits.items():
        with ArrowWriter(features=features(), path=str(folder / f"tins-{split}.arrow")) as writer:
            for row in rows:
                writer.write(row)
            writer.finalize()
    datasets.DatasetInfo(features=features()).write_to_directory(str(folder))
    path = folder / "dataset_info.json"
    sizes = {s: {"name": s, "num_bytes": 1, "num_examples": len(r), "dataset_name": "tins"} for s, r in splits.items()}
    version = {"version_str": "0.0.0", "major": 0, "minor": 0, "patch": 0}
    names = {"builder_name": "parquet", "dataset_name": "tins", "config_name": config}
    path.write_text(json.dumps({**json.loads(path.read_text()), **names, "version": version, "splits": sizes}))


def test_a_cached_data_set_is_read_without_a_network(cache: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fill(cache, "default", train=ROWS, test=ROWS[:1])
    assert columnar.is_arrow("hub:owner/tins")
    assert columnar.parts("hub:owner/tins") == ("train", "test")
    assert read("hub:owner/tins") == NAMED
    for path in ("hub:owner/tins:test", "hub:owner/tins:default:test"):
        assert read(path) == NAMED[:1]
    assert read("hub:owner/tins:default", Part("test", "train")) == NAMED[:1]
    assert capfd.readouterr() == ("", "")


def test_an_address_that_names_its_split_has_no_parts_to_score_with(cache: Path) -> None:
    """Else the split that is trained on would be taken for dev and test."""
    fill(cache, "default", train=ROWS, test=ROWS[:1])
    assert formats.parts("hub:owner/tins") == ("train", "test")
    assert formats.parts("hub:owner/tins:train") == formats.parts("hub:owner/tins:default:train") == ()


def test_several_configurations_must_be_told_apart(cache: Path) -> None:
    fill(cache, "small", train=ROWS[:1])
    fill(cache, "large", train=ROWS)
    assert read("hub:owner/tins:small") == NAMED[:1]
    with pytest.raises(DataError, match="several configurations: ") as caught:
        read("hub:owner/tins")
    assert "name one: hub:owner/tins:" in str(caught.value)
    with pytest.raises(DataError, match="the configuration 'huge' of 'owner/tins' is not in the local cache"):
        read("hub:owner/tins:huge")


def test_a_data_set_that_is_nowhere_is_one_error_with_the_way_out(cache: Path) -> None:
    with pytest.raises(
        DataError, match="'owner/none' is not in the local cache, and the Hub is switched off"
    ) as caught:
        read("hub:owner/none")
    assert "datasets.load_dataset('owner/none')" in str(caught.value)


@pytest.mark.parametrize("path", ["hub:", "hub:a b", "hub:a/b/c", "hub:a/b:c:d:e", "hub:a/b::train"])
def test_what_is_no_name_of_a_data_set_is_a_usage_error(path: str) -> None:
    with pytest.raises(UsageError, match="names no data set"):
        read(path)


def test_a_directory_is_not_taken_for_a_data_set_of_the_hub(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "owner" / "tins").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BertftError, match="is a directory here"):
        read("hub:owner/tins")


def written(folder: Path, **files: object) -> Path:
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    return folder


@pytest.mark.parametrize(
    "files", [None, 3, [], ["data-0.arrow"], [{}], [{"filename": 3}], [{"filename": "../x.arrow"}]]
)
def test_a_saved_data_set_that_names_no_file_is_refused(tmp_path: Path, files: object) -> None:
    with pytest.raises(DataError, match=r"state\.json"):
        read(written(tmp_path, state={"_data_files": files}))


@pytest.mark.parametrize("splits", [None, 3, "train", [["train"]], ["../train"]])
def test_splits_that_are_no_names_of_folders_are_none(tmp_path: Path, splits: object) -> None:
    with pytest.raises(DataError):
        read(written(tmp_path, dataset_dict={"splits": splits}))


@pytest.mark.parametrize(
    "noted",
    [
        *(b"[", b"[]", b'"x"', b'{"info": 3}', b'{"info": {"features": []}}', b"[" * 100_000, b'{"info": null}'),
        b'{"info": {"features": {"text": {"_type": "ClassLabel", "names": [[]]}}}}',
        b'{"info": {"features": {"text": {"_type": "List", "feature": {"_type": "ClassLabel", "names": ["a"]}}}}}',
    ],
)
def test_notes_of_features_in_another_form_are_none(tmp_path: Path, noted: bytes) -> None:
    table = pa.table({"text": ["a"]}).replace_schema_metadata({"huggingface": noted})
    pq.write_table(table, tmp_path / "x.parquet")
    assert read(tmp_path / "x.parquet") == [{"text": "a"}]


def test_offsets_that_lead_out_of_an_arrow_file_are_damage_and_end_no_process(tmp_path: Path) -> None:
    path = tmp_path / "x.arrow"
    with pa.OSFile(str(path), "wb") as stream, pa.ipc.new_file(stream, pa.schema({"text": pa.string()})) as writer:
        writer.write_table(pa.table({"text": ["a" * 7, "b" * 5]}))
    raw = path.read_bytes()
    offsets = b"".join(n.to_bytes(4, "little") for n in (0, 7, 12))
    assert raw.count(offsets) == 1
    for bad in ((0, 2**30, 12), (0, 7, 2), (0, 7, 2**31 - 1)):
        path.write_bytes(raw.replace(offsets, b"".join(n.to_bytes(4, "little") for n in bad)))
        with pytest.raises(DataError, match="damaged"):
            read(path)


def test_text_that_is_no_utf8_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"text": ["Zürich"]}), path, compression="none", use_dictionary=False)
    path.write_bytes(path.read_bytes().replace("ü".encode(), b"\xff\xff"))
    with pytest.raises(DataError, match="damaged"):
        read(path)


def test_a_row_is_excluded_for_its_label_and_not_for_another_column(tmp_path: Path) -> None:
    import datasets

    classes = {name: datasets.ClassLabel(names=["bad", "good"]) for name in ("label", "topic")}
    table = {"text": ["a", "b", "c"], "label": [0, -1, 1], "topic": [-1, 0, 1]}
    kinds = datasets.Features({"text": datasets.Value("string"), **classes})
    datasets.Dataset.from_dict(table, features=kinds).to_parquet(str(tmp_path / "f.parquet"))

    def excluded(columns: dict[str, str]) -> list[bool]:
        opened = formats.read(str(tmp_path / "f.parquet"), wanted=(("text", "label"),), columns=columns, labelled=True)
        return [bool(row.excluded) for row in opened.rows]

    assert excluded({}) == [False, True, False]
    assert excluded({"label": "topic"}) == [True, False, False]
