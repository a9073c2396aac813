"""What a user would write instead: confluent-kafka with pyarrow or duckdb, the same job, the same
output, a checkpoint of offsets and sums in JSON.

Prints how many records it read.

Usage: peer.py pyarrow|duckdb csv|json BROKER TOPIC PARTITIONS FOLDER BATCH_OFFSETS MAX_BATCHES

From JSON it reads four fields, and sums three of them.
"""

import json
import os
import sys

from confluent_kafka import Consumer, TopicPartition

kind, format, broker, topic, partitions, folder, size, most = sys.argv[1:]
partitions, size, most = int(partitions), int(size), int(most)
fetch = {
    "fetch.wait.max.ms": 10,
    "fetch.queue.backoff.ms": 5,
    "queued.min.messages": 20000,
    "message.max.bytes": 524288,
    "fetch.max.bytes": 524288,
    "fetch.message.max.bytes": 524288,
}
consumer = Consumer(
    {
        "bootstrap.servers": broker,
        "group.id": "peer",
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        **fetch,
    }
)
os.makedirs(folder, exist_ok=True)
checkpoint = os.path.join(folder, "checkpoint.json")
state = (
    json.load(open(checkpoint))
    if os.path.exists(checkpoint)
    else {"offsets": [0] * partitions, "sums": {}}
)
sums = {int(k): v for k, v in state["sums"].items()}
ends = [consumer.get_watermark_offsets(TopicPartition(topic, p))[1] for p in range(partitions)]
consumer.assign([TopicPartition(topic, p, state["offsets"][p]) for p in range(partitions)])
left = sum(ends) - sum(state["offsets"])
records = 0

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

if kind == "duckdb":
    import duckdb

    database = duckdb.connect()
    database.execute("SET threads = 1")


summed = ["time_taken"] if format == "csv" else ["time_taken", "bytes_sent", "duration"]


def table(values):
    if format == "csv":
        options = pyarrow.csv.ReadOptions(column_names=["api_id", "time_taken"], use_threads=False)
        return pyarrow.csv.read_csv(pa.BufferReader(b"".join(values)), read_options=options)
    if kind == "duckdb":
        return pa.table({"message": pa.array(values, pa.string())})
    types = [("api_id", pa.int32()), ("time_taken", pa.int32()), ("bytes_sent", pa.int64())]
    return pyarrow.json.read_json(
        pa.BufferReader(b"\n".join(values)),
        read_options=pyarrow.json.ReadOptions(use_threads=False),
        parse_options=pyarrow.json.ParseOptions(
            explicit_schema=pa.schema([*types, ("duration", pa.float64())]),
            unexpected_field_behavior="ignore",
        ),
    )


def fold(values):
    batch = table(values)
    if kind == "pyarrow":
        groups = batch.group_by("api_id", use_threads=False).aggregate(
            [("time_taken", "count"), *((name, "sum") for name in summed)]
        )
        names = ["api_id", "time_taken_count", *(f"{name}_sum" for name in summed)]
        rows = zip(*(groups[name].to_pylist() for name in names))
    else:
        database.register("batch", batch)
        records = "batch"
        if format == "json":
            types = (
                '{"api_id":"INTEGER","time_taken":"INTEGER","bytes_sent":"BIGINT",'
                '"duration":"DOUBLE"}'
            )
            records = f"(SELECT unnest(from_json(message, '{types}')) FROM batch)"
        sums_of = ", ".join(
            f"sum({name})" + ("" if name == "duration" else "::BIGINT") for name in summed
        )
        rows = database.execute(
            f"SELECT api_id, count(*), {sums_of} FROM {records} GROUP BY api_id"
        ).fetchall()
    for key, *counted in rows:
        held = sums.setdefault(key, [0] * len(counted))
        for index, number in enumerate(counted):
            held[index] += number


def publish():
    keys = sorted(sums)
    table = pa.table(
        {
            "api_id": pa.array(keys, pa.int32()),
            "calls": pa.array([sums[k][0] for k in keys], pa.int64()),
            "time_taken": pa.array([sums[k][1] for k in keys], pa.int64()),
        }
    )
    path = os.path.join(folder, "part-0.parquet")
    if kind == "pyarrow":
        times = table["time_taken"].to_pylist()
        total = sum(times)
        table = table.append_column("percentage_time", pa.array([100.0 * t / total for t in times]))
        pq.write_table(table, path + ".new", compression="zstd")
    else:
        database.register("result", table)
        database.execute(
            "COPY (SELECT *, 100.0 * time_taken / sum(time_taken) OVER () AS percentage_time FROM "
            "result) "
            f"TO '{path}.new' (FORMAT parquet, COMPRESSION zstd)"
        ).fetchall()
    replace(path)


def replace(path):
    with open(path + ".new", "rb+") as file:
        os.fsync(file.fileno())
    os.replace(path + ".new", path)


while left > 0 and most > 0:
    batch = []
    while len(batch) < min(size, left):
        batch += consumer.consume(min(size, left) - len(batch), 0.05)
    left -= len(batch)
    records += len(batch)
    most -= 1
    for message in batch:
        state["offsets"][message.partition()] = message.offset() + 1
    fold([message.value() for message in batch])
    publish()
    with open(checkpoint + ".new", "w") as file:
        json.dump({"offsets": state["offsets"], "sums": sums}, file)
    replace(checkpoint)
print(records, flush=True)
os._exit(0)
