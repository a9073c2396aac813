"""Says whether pyarrow and duckdb read from a job's Parquet object what its messages hold.

Usage: unsigned.py OBJECT; standard input holds a line `KEY NUMBER` for each record that counts,
NUMBER empty where it is NULL. The object has the columns id, records, least, most, total and mean.
"""

import sys

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

groups = {}
for line in sys.stdin:
    key, number = line.rstrip("\n").split(" ")
    groups.setdefault(int(key), []).append(int(number) if number else None)
expected = []
for key, numbers in sorted(groups.items()):
    present = [number for number in numbers if number is not None]
    total = sum(present) if present else None
    expected.append(
        (
            key,
            len(numbers),
            min(present, default=None),
            max(present, default=None),
            total,
            None if total is None else float(total) / len(present),
        )
    )

path = sys.argv[1]
table = pq.read_table(path)
assert [f.type for f in table.schema] == [
    pa.uint64(),
    pa.int64(),
    pa.uint64(),
    pa.uint64(),
    pa.uint64(),
    pa.float64(),
], table.schema
names = ["id", "records", "least", "most", "total", "mean"]
assert table.column_names == names, table.column_names
found = list(zip(*(table.column(name).to_pylist() for name in names)))
assert found == expected, next(pair for pair in zip(found, expected) if pair[0] != pair[1])
statistics = pq.ParquetFile(path).metadata.row_group(0).column(0).statistics
assert (statistics.min, statistics.max) == (expected[0][0], expected[-1][0]), statistics
found = duckdb.execute(f"SELECT * FROM read_parquet('{path}')").fetchall()
assert found == expected, next(pair for pair in zip(found, expected) if pair[0] != pair[1])
above = duckdb.execute(
    f"SELECT count(*) FROM read_parquet('{path}') WHERE id > 9223372036854775807"
).fetchone()[0]
assert above == sum(row[0] > 9223372036854775807 for row in expected), above
print(f"{len(expected)} groups")
