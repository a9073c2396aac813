"""Reads every NAME.parquet of a folder with Apache Spark and compares it with NAME.json, as
readers.py does with the other readers.

Usage: spark.py FOLDER, by a Python with pyspark 4.0.0 and Java 17: too much to install for every
run of CI. The folder is left by

    TRANCHE_TEST_KEEP_PARQUET=FOLDER make test
"""

import glob
import json
import math
import os
import struct
import sys

from pyspark.sql import SparkSession

spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.ui.enabled", "false")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.driver.host", "127.0.0.1")
    # Rows come back in the order of the file: one file, one task.
    .config("spark.sql.files.maxPartitionBytes", str(1 << 40))
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")
types = {
    "int32": "int",
    "int64": "bigint",
    "uint64": "decimal(20,0)",
    "double": "double",
    "bool": "boolean",
    "string": "string",
    "timestamp": "timestamp",
    "timestamp_microseconds": "timestamp",
    "date": "date",
}


def kept(column, kind):
    """A SQL expression for the column as the table keeps it."""
    name = f"`{column}`"
    if kind == "timestamp":
        return f"unix_millis({name})"
    if kind == "timestamp_microseconds":
        return f"unix_micros({name})"
    if kind == "date":
        return f"unix_date({name})"
    if kind == "bool":
        return f"CAST({name} AS INT)"
    return name


files = rows = 0
for path in sorted(glob.glob(os.path.join(sys.argv[1], "*.parquet"))):
    with open(path[: -len("parquet")] + "json") as file:
        expected = json.load(file)
    frame = spark.read.parquet(path)
    columns = expected["columns"]
    for field, column in zip(frame.schema.fields, columns):
        wanted = types.get(column["type"], column["type"])
        if field.name != column["name"] or field.dataType.simpleString() != wanted:
            sys.exit(f"{path}: {field} for {column['name']} {column['type']}")
    found = frame.selectExpr(
        *[f"{kept(c['name'], c['type'])} AS c{i}" for i, c in enumerate(columns)]
    ).collect()
    if len(found) != expected["rows"]:
        sys.exit(f"{path}: {len(found)} rows for {expected['rows']}")
    for number, row in enumerate(found):
        for index, column in enumerate(columns):
            value, wanted = row[index], column["values"][number]
            if value is not None and column["type"] == "double":
                bits = struct.unpack("<Q", struct.pack("<d", value))[0]
                wanted = int(wanted)
                if math.isnan(value) and math.isnan(
                    struct.unpack("<d", struct.pack("<Q", wanted))[0]
                ):
                    continue
                value = bits
            if value is not None and column["type"].startswith("decimal"):
                value = int(value.scaleb(int(column["type"][8:-1].split(",")[1])))
            if value != wanted:
                sys.exit(
                    f"{path}, column {column['name']} {column['type']}, row {number}: {value!r} "
                    f"for {wanted!r}"
                )
    files += 1
    rows += expected["rows"]
print(f"{files} files, {rows} rows agree in Spark {spark.version}")
