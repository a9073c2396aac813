"""What a user would write instead: confluent-kafka with pyarrow or duckdb, the same job, the same
output, a checkpoint of offsets and sums in JSON.

Prints how many records it read.

Usage: peer.py pyarrow|duckdb BROKER TOPIC PARTITIONS FOLDER BATCH_OFFSETS MAX_BATCHES
"""

import json
import os
import sys

from confluent_kafka import Consumer, TopicPartition

kind, broker, topic, partitions, folder, size, most = sys.argv[1:]
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
import pyarrow.parquet as pq

if kind == "duckdb":
    import duckdb

    database = duckdb.connect()
    database.execute("SET threads = 1")


def fold(values):
    options = pyarrow.csv.ReadOptions(column_names=["api_id", "time_taken"], use_threads=False)
    table = pyarrow.csv.read_csv(pa.BufferReader(b"".join(values)), read_options=options)
    if kind == "pyarrow":
        groups = table.group_by("api_id", use_threads=False).aggregate(
            [("time_taken", "count"), ("time_taken", "sum")]
        )
        rows = zip(
            *(groups[name].to_pylist() for name in ("api_id", "time_taken_count", "time_taken_sum"))
        )
    else:
        database.register("batch", table)
        rows = database.execute(
            "SELECT api_id, count(*), sum(time_taken)::BIGINT FROM batch GROUP BY api_id"
        ).fetchall()
    for key, count, total in rows:
        held = sums.setdefault(key, [0, 0])
        held[0] += count
        held[1] += total


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
