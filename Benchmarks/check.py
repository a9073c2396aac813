"""What of the benchmark needs pyarrow.

Usage: check.py agree SUMS.csv FOLDER ...         the objects in each folder hold, over all
                                                  windows, the C program's sums
       check.py alike FOLDER ...                  ... hold the same sums
       check.py holds FOLDER GROUPS CALLS         ... hold so many groups and calls
       check.py parquet PARQUET_BENCHMARK PATH    our encoder and pyarrow's write the same table to
                                                  PATH, each on one core; prints JSON
"""

import glob
import json
import os
import statistics
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

COLUMNS = ["api_id", "calls", "time_taken"]


def objects(folder):
    """The rows of all objects in a folder; a window's hold its own groups."""
    paths = glob.glob(os.path.join(folder, "**", "*.parquet"), recursive=True)
    if not paths:
        sys.exit(f"{folder} holds no objects")
    return pa.concat_tables(
        pq.read_table(path, columns=COLUMNS, partitioning=None) for path in paths
    )


def sums_of(folder):
    rows = objects(folder).group_by("api_id").aggregate([("calls", "sum"), ("time_taken", "sum")])
    return (
        rows.select(["api_id", "calls_sum", "time_taken_sum"])
        .rename_columns(COLUMNS)
        .sort_by("api_id")
        .to_pylist()
    )


def agree(sums, *folders):
    expected = pyarrow.csv.read_csv(sums).to_pylist()
    for folder in folders:
        if sums_of(folder) != expected:
            sys.exit(f"{folder} and the C program disagree")


def alike(first, *folders):
    expected = sums_of(first)
    for folder in folders:
        if sums_of(folder) != expected:
            sys.exit(f"{folder} and {first} disagree")


def holds(folder, groups, calls):
    rows = objects(folder)
    found = rows.num_rows, sum(rows["calls"].to_pylist())
    if found != (int(groups), int(calls)):
        sys.exit(
            f"{folder} holds {found[0]} groups and {found[1]} calls instead of {groups} and {calls}"
        )


def parquet(program, path):
    figures = json.loads(
        subprocess.run([program, path], stdout=subprocess.PIPE, text=True, check=True).stdout
    )
    pa.set_cpu_count(1)
    table = pq.read_table(path).combine_chunks()
    times = []
    for _ in range(7):
        buffer = pa.BufferOutputStream()
        started = time.perf_counter()
        pq.write_table(table, buffer, compression="zstd", compression_level=1)
        times.append((time.perf_counter() - started) * 1000)
    figures |= {
        "pyarrow_ms": statistics.median(times),
        "pyarrow_bytes": buffer.getvalue().size,
        "pyarrow": pa.__version__,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    {"agree": agree, "alike": alike, "holds": holds, "parquet": parquet}[sys.argv[1]](*sys.argv[2:])
