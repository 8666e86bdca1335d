"""In which form source events stand in a file: by its name, unless somebody says it."""

import json
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import BinaryIO, Final, Literal

from producers.bookmark import digest
from producers.columns import ColumnError, Columns, RowReader
from producers.csv_rows import Row, read_rows
from producers.foreign import advice_on
from producers.ndjson import Place

COMPRESSIONS: Final = frozenset({".gz", ".gzip", ".zst", ".zstd"})
"""The ends of names that say nothing about the content; whether it is compressed, it says itself."""
TABLES: Final = {".csv": ",", ".tsv": "\t"}
"""The ends of the names of tables, and their delimiters."""

Format = Literal["ndjson", "csv"]


@dataclass(frozen=True, slots=True)
class Form:
    """How source events are read. `format` and `delimiter` None: by the name of the file, else NDJSON and commas."""

    format: Format | None = None
    delimiter: str | None = None
    columns: Columns = field(default_factory=Columns)

    def is_table(self, path: str) -> bool:
        return self.format == "csv" if self.format else _ending(path) in TABLES

    def delimiter_of(self, path: str) -> str:
        return self.delimiter or TABLES.get(_ending(path), ",")

    def digest(self, path: str) -> str:
        """Equal where the same file would be read in the same way."""
        table = self.is_table(path)
        columns = [sorted(self.columns.mapped.items()), sorted(self.columns.constants.items())]
        return digest(json.dumps([self.delimiter_of(path), *columns] if table else []).encode())

    def read_header(self, path: str, stream: BinaryIO, place: Place) -> RowReader | None:
        """How the rows of a table are read; None: it is empty. Raises `ColumnError`."""
        header: Row | None = next(read_rows(stream, self.delimiter_of(path), place), None)
        if header is None:
            return None
        if header.cells is None:
            advice = advice_on(header.content)
            reason = f"; {advice}" if advice else ""
            raise ColumnError(f"{path}: line {header.line}, the header, is no row of a table in UTF-8{reason}")
        try:
            return self.columns.under(header.cells)
        except ColumnError as error:
            raise ColumnError(f"{path}: {error}") from error


def _ending(path: str) -> str:
    name = PurePath(path)
    return PurePath(name.stem if name.suffix.lower() in COMPRESSIONS else name).suffix.lower()
