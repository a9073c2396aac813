"""Reads every NAME.parquet of a folder with readers that others wrote, and compares it with
NAME.json, value by value.

Usage: readers.py FOLDER. Compared are values, types and nullability, footer metadata and statistics
as pyarrow prints them, and what a filter that a reader pushes down to the statistics returns.
"""

import decimal
import glob
import json
import math
import os
import random
import struct
import sys

import duckdb
import polars
import pyarrow as pa
import pyarrow.parquet as pq
from chdb import session

folder = sys.argv[1]
numbers = random.Random(1)
clickhouse = session.Session()
duck = duckdb.connect()
duck.execute("SET TimeZone = 'UTC'")


def arrow_type(name):
    if name.startswith("decimal"):
        return pa.decimal128(*map(int, name[8:-1].split(",")))
    return {
        "int32": pa.int32(),
        "int64": pa.int64(),
        "uint64": pa.uint64(),
        "double": pa.float64(),
        "bool": pa.bool_(),
        "string": pa.string(),
        "timestamp": pa.timestamp("ms", "UTC"),
        "timestamp_microseconds": pa.timestamp("us", "UTC"),
        "date": pa.date32(),
    }[name]


def bits(value):
    return struct.unpack("<Q", struct.pack("<d", value))[0]


def kept(column, kind):
    """A column of any reader's Arrow as the integers, bits and texts that the table keeps."""
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if kind.startswith("timestamp"):
        # Readers with one resolution for all times give microseconds or nanoseconds for
        # milliseconds.
        unit = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[column.type.unit]
        wanted = 10**3 if kind == "timestamp" else 10**6
        return [
            None if v is None else v * wanted // unit for v in column.cast(pa.int64()).to_pylist()
        ]
    if kind == "date":
        return column.cast(pa.int32()).to_pylist()
    if kind.startswith("decimal"):
        scale = arrow_type(kind).scale
        return [None if v is None else int(v.scaleb(scale)) for v in column.to_pylist()]
    if kind == "bool":
        return [None if v is None else int(v) for v in column.to_pylist()]
    if kind == "double":
        return [None if v is None else bits(v) for v in column.to_pylist()]
    if kind == "string":
        return [v.decode() if isinstance(v, bytes) else v for v in column.to_pylist()]
    return column.to_pylist()


def same(kind, left, right):
    if kind != "double":
        return left == right

    # A NaN may change its bits on the way through a reader, never its being one.
    def plain(v):
        return (
            "nan"
            if v is not None and math.isnan(struct.unpack("<d", struct.pack("<Q", int(v)))[0])
            else v
        )

    return list(map(plain, left)) == list(map(plain, right))


def fail(path, reader, what):
    sys.exit(f"{os.path.basename(path)}, {reader}: {what}")


def compare(path, reader, table, columns):
    for index, column in enumerate(columns):
        found = kept(table.column(index), column["type"])
        if not same(column["type"], found, column["values"]):
            wrong = next(
                (i for i, (a, b) in enumerate(zip(found, column["values"])) if a != b), None
            )
            fail(
                path,
                reader,
                f"column {column['name']} {column['type']}, row {wrong} of "
                f"{len(column['values'])}, {len(found)} found: "
                + (
                    f"{found[wrong]!r} for {column['values'][wrong]!r}"
                    if wrong is not None
                    else "lengths differ"
                ),
            )


def check_footer(path, columns, expected):
    file = pq.ParquetFile(path)
    metadata = file.metadata
    if (
        metadata.metadata[b"tranche.job"].decode() != "é"
        or metadata.created_by != "tranche version test"
    ):
        fail(path, "pyarrow", "footer metadata")
    for field, column in zip(file.schema_arrow, columns):
        if (
            field.type != arrow_type(column["type"])
            or field.nullable != column["nullable"]
            or field.name != column["name"]
        ):
            fail(path, "pyarrow", f"schema: {field} for {column['name']} {column['type']}")
    groups = -(-expected["rows"] // expected["row_group_rows"])
    if metadata.num_row_groups != groups or metadata.num_rows != expected["rows"]:
        fail(path, "pyarrow", f"{metadata.num_row_groups} row groups of {metadata.num_rows} rows")
    for number in range(groups):
        start = number * expected["row_group_rows"]
        for index, column in enumerate(columns):
            statistics = metadata.row_group(number).column(index).statistics
            values = column["values"][start : start + expected["row_group_rows"]]
            present = [v for v in values if v is not None]
            if statistics is None or statistics.null_count != len(values) - len(present):
                fail(path, "pyarrow", f"null count of {column['name']}")
            kind = column["type"]
            if kind == "double":
                present = [
                    v
                    for v in (struct.unpack("<d", struct.pack("<Q", int(v)))[0] for v in present)
                    if not math.isnan(v)
                ]
            if kind == "string":
                present = [v.encode() for v in present]
            if not statistics.has_min_max:
                if present and not (
                    kind == "string" and max(map(len, (min(present), max(present)))) > 64
                ):
                    fail(path, "pyarrow", f"no statistics of {column['name']}")
                continue
            low, high = statistics.min_raw, statistics.max_raw
            if kind == "string":
                low, high = (v.encode() if isinstance(v, str) else v for v in (low, high))
            if kind == "uint64":
                low, high = (v % 2**64 for v in (low, high))
            if (low, high) != (min(present), max(present)):
                fail(
                    path,
                    "pyarrow",
                    f"statistics of {column['name']}: {low!r} to {high!r} for {min(present)!r} to "
                    f"{max(present)!r}",
                )


def check_types(path, columns):
    """The types, and where a reader keeps it whether a column may be null, as the other readers see
    them."""

    def duckdb_type(kind):
        return {
            "int32": "INTEGER",
            "int64": "BIGINT",
            "uint64": "UBIGINT",
            "double": "DOUBLE",
            "bool": "BOOLEAN",
            "string": "VARCHAR",
            "date": "DATE",
            "timestamp": "TIMESTAMP WITH TIME ZONE",
            "timestamp_microseconds": "TIMESTAMP WITH TIME ZONE",
        }.get(kind, kind.upper())

    def clickhouse_type(column):
        kind = column["type"]
        plain = {
            "int32": "Int32",
            "int64": "Int64",
            "uint64": "UInt64",
            "double": "Float64",
            "bool": "Bool",
            "string": "String",
            "date": "Date32",
            "timestamp": "DateTime64(3, 'UTC')",
            "timestamp_microseconds": "DateTime64(6, 'UTC')",
        }.get(kind)
        plain = plain or "Decimal(" + kind[8:-1].replace(",", ", ") + ")"
        return f"Nullable({plain})" if column["nullable"] else plain

    def polars_type(kind):
        if kind.startswith("decimal"):
            return polars.Decimal(*map(int, kind[8:-1].split(",")))
        return {
            "int32": polars.Int32,
            "int64": polars.Int64,
            "uint64": polars.UInt64,
            "double": polars.Float64,
            "bool": polars.Boolean,
            "string": polars.String,
            "date": polars.Date,
            "timestamp": polars.Datetime("ms", "UTC"),
            "timestamp_microseconds": polars.Datetime("us", "UTC"),
        }[kind]

    found = [
        (row[0], row[1])
        for row in duck.execute("DESCRIBE SELECT * FROM read_parquet(?)", [path]).fetchall()
    ]
    expected = [(c["name"], duckdb_type(c["type"])) for c in columns]
    if found != expected:
        fail(path, "duckdb", f"types {found} for {expected}")
    found = list(polars.read_parquet_schema(path).items())
    expected = [(c["name"], polars_type(c["type"])) for c in columns]
    if found != expected:
        fail(path, "polars", f"types {found} for {expected}")
    answer = clickhouse.query(
        f"DESCRIBE file('{path}', Parquet) SETTINGS schema_inference_make_columns_nullable = "
        f"'auto'",
        "JSON",
    ).bytes()
    found = [(row["name"], row["type"]) for row in json.loads(answer)["data"]]
    expected = [(c["name"], clickhouse_type(c)) for c in columns]
    if found != expected:
        fail(path, "ClickHouse", f"types {found} for {expected}")


def check_filters(path, columns):
    """`=` and `<` with a value of the column, through readers that skip row groups by their
    statistics."""
    for column in columns:
        kind = column["type"]
        if kind not in (
            "int32",
            "int64",
            "uint64",
            "string",
            "double",
            "date",
            "bool",
            "timestamp",
        ) and not kind.startswith("decimal"):
            continue
        values = column["values"]
        if kind == "double":
            values = [
                None if v is None else struct.unpack("<d", struct.pack("<Q", int(v)))[0]
                for v in values
            ]
            # What NaN is equal to, or less than, each system decides for itself.
            if any(v is not None and math.isnan(v) for v in values):
                continue
        present = [v for v in values if v is not None]
        if not present:
            continue
        value = numbers.choice(present)
        if kind == "double" and math.isinf(value):
            continue
        equal = sum(v == value for v in present)
        key = (lambda v: v.encode()) if kind == "string" else (lambda v: v)
        less = sum(key(v) < key(value) for v in present)
        name = '"' + column["name"] + '"'
        # How a value is written in SQL: of the kind that the column has, so that statistics are
        # used.
        literal = {
            "bool": lambda v: "true" if v else "false",
            "date": lambda v: f"(DATE '1970-01-01' + {v})",
            "timestamp": lambda v: f"epoch_ms({v})::TIMESTAMPTZ",
        }.get(kind)
        if kind.startswith("decimal"):
            value = decimal.Decimal(value).scaleb(-arrow_type(kind).scale)
            literal = lambda v: f"{v:f}::{kind}"
        if literal:
            value = literal(value)
            row, below = (
                duck.execute(
                    f"SELECT count(*) FROM read_parquet(?) WHERE {name} {sign} {value}", [path]
                ).fetchone()[0]
                for sign in ("=", "<")
            )
            if (row, below) != (equal, less):
                fail(
                    path,
                    "duckdb",
                    f"WHERE {column['name']} = or < {value}: {row}, {below} for {equal}, {less}",
                )
            continue
        row = duck.execute(
            f"SELECT count(*) FILTER (TRUE) FROM read_parquet(?) WHERE {name} = ?", [path, value]
        ).fetchone()
        below = duck.execute(
            f"SELECT count(*) FROM read_parquet(?) WHERE {name} < ?", [path, value]
        ).fetchone()
        if (row[0], below[0]) != (equal, less):
            fail(
                path,
                "duckdb",
                f"WHERE {column['name']} = or < {value!r}: {row[0]}, {below[0]} for {equal}, "
                f"{less}",
            )
        lazy = polars.scan_parquet(path)
        found = (
            lazy.filter(polars.col(column["name"]) == value).select(polars.len()).collect().item()
        )
        below = (
            lazy.filter(polars.col(column["name"]) < value).select(polars.len()).collect().item()
        )
        if (found, below) != (equal, less):
            fail(
                path,
                "polars",
                f"{column['name']} == or < {value!r}: {found}, {below} for {equal}, {less}",
            )
        scalar = pa.scalar(value, pa.uint64()) if kind == "uint64" else value
        found, below = (
            pq.read_table(path, filters=[(column["name"], sign, scalar)]).num_rows
            for sign in ("=", "<")
        )
        if (found, below) != (equal, less):
            fail(
                path,
                "pyarrow",
                f"{column['name']} = or < {value!r}: {found}, {below} for {equal}, {less}",
            )
        if kind == "string" and len(value) > 10_000:
            continue
        text = (
            "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
            if kind == "string"
            else repr(value)
        )
        found, below = (
            int(
                clickhouse.query(
                    f"SELECT count() FROM file('{path}', Parquet) WHERE `{column['name']}` {sign} "
                    f"{text}"
                ).bytes()
            )
            for sign in ("=", "<")
        )
        if (found, below) != (equal, less):
            fail(
                path,
                "ClickHouse",
                f"{column['name']} = or < {value!r}: {found}, {below} for {equal}, {less}",
            )


files = rows = values = 0
for path in sorted(glob.glob(os.path.join(folder, "*.parquet"))):
    with open(path[: -len("parquet")] + "json") as file:
        expected = json.load(file)
    columns = expected["columns"]
    for column in columns:
        if column["type"] == "double":
            column["values"] = [None if v is None else int(v) for v in column["values"]]
    check_footer(path, columns, expected)
    compare(path, "pyarrow", pq.read_table(path, use_threads=False), columns)
    compare(path, "polars", polars.read_parquet(path).to_arrow(), columns)
    compare(
        path,
        "duckdb",
        duck.cursor().sql(f"SELECT * FROM read_parquet('{path}')").to_arrow_table(),
        columns,
    )
    described = duck.execute(
        "SELECT name, repetition_type FROM parquet_schema(?) WHERE num_children IS NULL", [path]
    ).fetchall()
    if described != [(c["name"], "OPTIONAL" if c["nullable"] else "REQUIRED") for c in columns]:
        fail(path, "duckdb", f"schema: {described}")
    check_types(path, columns)
    if expected["rows"]:
        answer = clickhouse.query(
            f"SELECT * FROM file('{path}', Parquet) SETTINGS input_format_parquet_preserve_order = "
            f"1",
            "Arrow",
        ).bytes()
        compare(path, "ClickHouse", pa.ipc.open_file(answer).read_all(), columns)
    elif int(clickhouse.query(f"SELECT count() FROM file('{path}', Parquet)").bytes()) != 0:
        # Its Arrow output of no rows is an empty answer, which tells nothing.
        fail(path, "ClickHouse", "rows in an empty file")
    check_filters(path, columns)
    files += 1
    rows += expected["rows"]
    values += expected["rows"] * len(columns)
print(
    f"{files} files, {rows} rows, {values} values agree in pyarrow {pa.__version__}, duckdb "
    f"{duckdb.__version__}, "
    f"polars {polars.__version__} and ClickHouse "
    f"{clickhouse.query('SELECT version()').bytes().decode().strip()}"
)
