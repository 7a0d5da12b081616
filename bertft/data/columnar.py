"""Arrow tables: Parquet and .arrow files, directories that `datasets` saved, and data sets of the Hub.

    train.parquet        news/dataset_dict.json        hub:owner/name              (its `train`)
    train.arrow          news/train/state.json         hub:owner/name:validation
    data/train-0.parquet news/train/data-0.arrow       hub:owner/name:config:test

Rows come batch by batch, so memory does not grow with the table. A row's place is the table and the number of the row.
Numbers of a `ClassLabel` become its names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bertft.data import hub
from bertft.data import parts as splits
from bertft.data.row import Found, Part, Place, Row
from bertft.errors import DataError, first_line, inline

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 1000

_MAGIC = {b"PAR1": "parquet", b"ARROW1": "arrow"}
_NO_LABEL = -1
NO_LABEL = "without a gold label (-1)"
"""Why a row is excluded, unless its label is in another column."""
_DEEPEST = 10  # lists in lists, of labels
_SHARD = re.compile(r"[-_.]?\d+-of-\d+$")

Decode = Callable[[Any], Any]


def is_arrow(path: str) -> bool:
    """Say whether `path` is a Parquet or Arrow file, a directory of them that `datasets` knows, or of the Hub."""
    if path.startswith(hub.PREFIX):
        return True
    place = Path(path)
    if place.is_dir():
        return any((place / name).is_file() for name in ("dataset_dict.json", "state.json")) or bool(_shards(place))
    return place.is_file() and _kind(place) is not None


def parts(path: str) -> tuple[str, ...]:
    """Return the names of the splits of a directory or of a data set of the Hub, () for others."""
    return tuple(_tables(path))


def read(path: str, part: Part) -> Found:
    """Return the rows of a file, or of a split of a directory or a data set of the Hub.

    Raises DataError for what cannot be read or is not there, UsageError for a name that the Hub cannot have.
    """
    tables = _tables(path)
    if path.startswith(hub.PREFIX) and part.name is None:
        part = part._replace(name=hub.address(path).split)
    if tables:
        names = splits.pick(part, tuple(tables), path)
        chosen = [table for name in names for table in tables[name]]
        note = splits.describe(names, tuple(tables))
    else:
        if part.name is not None:
            raise DataError(f"there is no part {part.name!r}: this is one table", place=path)
        chosen, note = _single(path), ""
    first = chosen[0]
    left_out = f"; left out, as it is no text: {', '.join(map(inline, first.binary))}" if first.binary else ""
    rows = sum(table.rows for table in chosen)
    return Found(f"{first.kind}, {rows} rows{note}{left_out}", _rows(chosen, path))


# -- a table --------------------------------------------------------------------------------------------------------


class _Table:
    """A table that can be read in batches; `features` are those that `datasets` notes, as JSON has them."""

    def __init__(
        self,
        kind: str,
        rows: int,
        schema: pa.Schema,
        batches: Callable[[], Iterable[pa.RecordBatch | pa.Table]],
        features: Mapping[str, Any] | None = None,
    ) -> None:
        self.kind = kind
        self.rows = rows
        self.batches = batches
        self.features = features or _noted((schema.metadata or {}).get(b"huggingface", b"{}"))
        self.binary = [field.name for field in schema if _is_binary(field.type)]
        self.left_out = {*self.binary, *(name for name in schema.names if name.startswith("__index_level_"))}


def _noted(text: bytes) -> Mapping[str, Any]:
    """Return the features that `datasets` notes in a table, none where they are in another form."""
    try:
        features = json.loads(text)["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def _rows(tables: Sequence[_Table], path: str) -> Iterator[Row]:
    number = 0
    for table in tables:
        decoders = {name: decode for name, one in table.features.items() if (decode := _decoder(one))}
        for values in _sound(table, path):
            number += 1
            # GLUE's test sets, and SNLI where its annotators disagreed
            none = any(values.get(name) == _NO_LABEL for name in decoders)
            for name, decode in decoders.items():
                if name in values:
                    values[name] = decode(values[name])
            yield Row(Place(path, number), values, excluded=NO_LABEL if none else "")


def _sound(table: _Table, path: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table; raises DataError where the file turns out to be damaged.

    A batch is checked before its values are looked at: offsets that lead out of it would end the process.
    """
    try:
        for batch in table.batches():
            batch.validate(full=True)
            yield from _written(batch.drop_columns([n for n in batch.schema.names if n in table.left_out]))
    except _damage() as error:
        raise DataError(f"the file is damaged: {first_line(error)}", place=path) from None


def _damage() -> tuple[type[Exception], ...]:
    """Return what pyarrow raises for bytes that are no table: also Python's own errors, of names and numbers."""
    import pyarrow as pa

    return (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError)


def _features(info: object) -> Mapping[str, Any]:
    features = info.get("features") if isinstance(info, dict) else None
    return features if isinstance(features, dict) else {}


def _written(batch: pa.RecordBatch | pa.Table) -> list[dict[str, Any]]:
    """Return the rows of a batch as JSON can have them: times and decimals as text."""
    import pyarrow as pa

    for index, field in enumerate(batch.schema):
        if pa.types.is_temporal(field.type) or pa.types.is_decimal(field.type):
            batch = batch.set_column(index, field.name, batch.column(index).cast(pa.string()))
    return cast("list[dict[str, Any]]", batch.to_pylist())


def _is_binary(kind: pa.DataType) -> bool:
    """Say whether a type is, or has in it, bytes: an image or a sound."""
    import pyarrow as pa

    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return True
    return any(_is_binary(kind.field(index).type) for index in range(kind.num_fields))


def _decoder(feature: Any, depth: int = 0) -> Decode | None:
    """Return how the values of a feature become names, None where it holds no ClassLabel."""
    if depth > _DEEPEST:
        return None
    if isinstance(feature, list) and len(feature) == 1:
        feature = {"_type": "List", "feature": feature[0]}
    if not isinstance(feature, dict):
        return None
    names = feature.get("names")
    if feature.get("_type") == "ClassLabel" and isinstance(names, list) and all(isinstance(n, str) for n in names):
        return lambda value: names[value] if isinstance(value, int) and 0 <= value < len(names) else None
    if feature.get("_type") in ("Sequence", "List", "LargeList"):
        inner = _decoder(feature.get("feature"), depth + 1)
        return inner and (lambda values: [inner(value) for value in values] if isinstance(values, list) else values)
    return None


# -- files and directories ------------------------------------------------------------------------------------------


def _kind(path: Path) -> str | None:
    with path.open("rb") as stream:
        head = stream.read(6)
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None) or (
        "arrow" if path.suffix == ".arrow" else None  # the streams that `datasets` writes begin with no magic
    )


def _tables(path: str) -> dict[str, list[_Table]]:
    """Return the tables of each split, none where the path holds no splits."""
    if path.startswith(hub.PREFIX):
        return {str(split): [_of_dataset(dataset)] for split, dataset in hub.load(path).items()}
    place = Path(path)
    if (place / "dataset_dict.json").is_file():
        index = place / "dataset_dict.json"
        names = _json(index).get("splits") or []
        if not isinstance(names, list):
            raise DataError("this saved data set is incomplete: it does not name its splits", place=str(index))
        return {name: _saved(place / name) for name in [_inside(index, name) for name in names]}
    if not (place / "state.json").is_file() and (shards := _shards(place)) and any(map(splits.is_split, shards)):
        return {name: [_open(file) for file in files] for name, files in shards.items()}
    return {}


def _single(path: str) -> list[_Table]:
    place = Path(path)
    if (place / "state.json").is_file():
        return _saved(place)
    if place.is_dir():
        files = [file for shard in _shards(place).values() for file in shard]
        if not files:
            raise DataError("this directory holds no Parquet or Arrow table", place=path)
        return [_open(file) for file in files]
    return [_open(place)]


def _shards(folder: Path) -> dict[str, list[Path]]:
    """Return the Parquet files of a directory, or of `data` in it as the Hub has it, by the split that they name."""
    found: dict[str, list[Path]] = {}
    for place in (folder, folder / "data"):
        for file in sorted(place.glob("*.parquet")):
            found.setdefault(_SHARD.sub("", file.stem), []).append(file)
    return found


def _saved(folder: Path) -> list[_Table]:
    """Return the tables of a directory that `Dataset.save_to_disk` wrote."""
    state = folder / "state.json"
    try:
        files = [_inside(state, one["filename"]) for one in _json(state).get("_data_files", [])]
    except (KeyError, TypeError):
        raise DataError("this saved data set is incomplete: it does not name its files", place=str(state)) from None
    features = _features(_json(folder / "dataset_info.json")) if (folder / "dataset_info.json").is_file() else None
    if not files:
        raise DataError("this saved data set names no files of data", place=str(state))
    return [_open(folder / name, features) for name in files]


def _inside(named_in: Path, name: object) -> str:
    """Return a name that a file of a saved data set gives; raises DataError where it leads out of the directory."""
    if not isinstance(name, str) or Path(name).name != name:
        fact = f"{named_in.name} names {name!r:.200}, which is not in this directory"
        raise DataError(fact, place=str(named_in), help="nothing outside a data set's directory is read")
    return name


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"this saved data set is incomplete: {error}", place=str(path)) from None
    return value if isinstance(value, dict) else {}


def _open(path: Path, features: Mapping[str, Any] | None = None) -> _Table:
    import pyarrow.parquet as pq

    try:
        if _kind(path) == "parquet":
            file = pq.ParquetFile(path)
            metadata = file.metadata
            batches = lambda: file.iter_batches(batch_size=BATCH_ROWS)  # noqa: E731
            return _Table("Parquet", metadata.num_rows, file.schema_arrow, batches, features)
        return _arrow(path, features)
    except FileNotFoundError:
        raise DataError(f"there is no file {str(path)!r}", place=str(path)) from None
    except _damage() as error:
        fact = f"this is no Parquet or Arrow table, or a damaged one: {first_line(error)}"
        raise DataError(fact, place=str(path)) from None


def _arrow(path: Path, features: Mapping[str, Any] | None) -> _Table:
    """Return the table of an Arrow file; mapped, so that its pages are read when they are needed."""
    import pyarrow as pa

    mapped = pa.memory_map(str(path))
    try:
        table = pa.ipc.open_file(mapped).read_all()
    except pa.ArrowInvalid:  # the streams that `datasets` writes
        mapped.seek(0)
        table = pa.ipc.open_stream(mapped).read_all()
    return _Table("Arrow", table.num_rows, table.schema, lambda: table.to_batches(BATCH_ROWS), features)


def _of_dataset(dataset: Any) -> _Table:
    arrow = dataset.with_format("arrow")
    features = dataset.features.to_dict()
    return _Table("data set", len(dataset), dataset.data.schema, lambda: arrow.iter(batch_size=BATCH_ROWS), features)
