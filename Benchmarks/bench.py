"""Measures Tranche against Benchmarks/limit.c on a local broker, in turn, and writes Benchmarks/results.md.

Every figure is of a whole process, start to exit, as the operating system accounts for it. Claims are the ratios.
"""
import csv
import os
import platform
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
TRANCHE = os.path.join(ROOT, ".build", "release", "tranche")
PARTITIONS, ROUNDS = 6, 5
RECORDS = int(os.environ.get("BENCH_RECORDS", "2000000"))


def timed(command, **options):
    """(wall seconds, CPU seconds, peak MiB) of one process."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    output, errors = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - started
    if status != 0:
        sys.exit(f"{command[0]} failed: {errors}{output}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def spread(values, digits=3):
    return f"{min(values):.{digits}f} / **{statistics.median(values):.{digits}f}** / {max(values):.{digits}f}"


def load(broker, topic, count):
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1, config={"retention.ms": "1000000000000000"})])[topic].result(30)
    numbers = random.Random(7)
    producer = Producer({"bootstrap.servers": broker, "linger.ms": 50, "queue.buffering.max.messages": 1000000})
    for index in range(count):
        row = b"%d,%d\n" % (int(numbers.paretovariate(1.2)) % 200 + 1, int(numbers.lognormvariate(4, 1)))
        while True:
            try:
                producer.produce(topic, row, partition=index % PARTITIONS, timestamp=1795428000000 + index)
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(120):
        sys.exit("the records were not delivered")


def job(folder, name, broker, topic, max_offsets):
    path = os.path.join(folder, f"{name}.yaml")
    with open(path, "w") as file:
        file.write(f"""name: {name}
source:
  kafka: [{{ name: main, properties: {{ bootstrap.servers: "{broker}" }}, topics: [{topic}] }}]
  format: csv
  fields: {{ api_id: int32, time_taken: int32 }}
trigger: {{ max_offsets: {max_offsets} }}
window: global
aggregate: {{ by: [api_id], measures: {{ calls: count(), time_taken: sum(time_taken) }} }}
select: {{ percentage_time: 100.0 * time_taken / sum(time_taken) OVER () }}
output: {{ to: "file:{folder}/out-{name}", format: csv }}
""")
    return path


def run_tranche(folder, path, *more):
    checkpoints = os.path.join(folder, "checkpoints")
    shutil.rmtree(checkpoints, ignore_errors=True)
    return timed([TRANCHE, "run", path, "--checkpoints", checkpoints, *more])


def agree(folder, name):
    """Both computed the same sums."""
    with open(os.path.join(folder, f"out-{name}", "part-0.csv")) as file:
        ours = {row["api_id"]: (row["calls"], row["time_taken"]) for row in csv.DictReader(file)}
    with open(os.path.join(folder, "limit.csv")) as file:
        theirs = {row["api_id"]: (row["calls"], row["time_taken"]) for row in csv.DictReader(file)}
    if ours != theirs:
        sys.exit("Tranche and the C program disagree")


def main():
    folder = tempfile.mkdtemp(prefix="tranche-bench-")
    stack = os.path.join(ROOT, "Tests", "Stack", "stack")
    limit = os.path.join(folder, "limit")
    subprocess.run(["gcc", "-O2", "-o", limit, os.path.join(ROOT, "Benchmarks", "limit.c"), "-lrdkafka"], check=True)
    subprocess.run([sys.executable, stack, "test-up", folder], check=True)
    try:
        with open(os.path.join(folder, "env")) as file:
            broker = next(line.split("'")[1] for line in file if "TRANCHE_TEST_BROKER=" in line)
        # In a process of its own: a child's peak memory begins with what its parent held.
        subprocess.run([sys.executable, __file__, "load", broker], check=True)
        lines = report(folder, broker, limit)
    finally:
        subprocess.run([sys.executable, stack, "test-down", folder], check=True)
        shutil.rmtree(folder, ignore_errors=True)
    text = "\n".join(lines) + "\n"
    with open(os.path.join(ROOT, "Benchmarks", "results.md"), "w") as file:
        file.write(text)
    print(text)


def report(folder, broker, limit):
    cold, idle, catch_up, small_batches, limits = [], [], [], [], []
    small = job(folder, "small", broker, "small", 1000)
    large = job(folder, "large", broker, "large", 100_000)
    thousand = job(folder, "thousand", broker, "large", 1_000)
    limit_command = [limit, broker, "large", str(PARTITIONS), os.path.join(folder, "limit.csv"), "32768"]
    timed(limit_command)
    for _ in range(ROUNDS):
        limits.append(timed(limit_command))
        catch_up.append(run_tranche(folder, large))
        agree(folder, "large")
        cold.append(run_tranche(folder, small))
        idle.append(timed([TRANCHE, "run", small, "--checkpoints", os.path.join(folder, "checkpoints")]))
        small_batches.append(run_tranche(folder, thousand, "--batches", "500"))
    ratio = [c[0] / t[0] for c, t in zip(limits, catch_up)]
    version = subprocess.run(["dpkg-query", "-W", "-f=${Version}", "librdkafka1"], capture_output=True, text=True).stdout
    rows = [
        ("cold start, 1,000 records", cold), ("idle run", idle), (f"{RECORDS:,} records, batches of 100,000 offsets", catch_up),
        ("500 batches of 1,000 offsets", small_batches), (f"C, librdkafka: {RECORDS:,} records", limits),
    ]
    lines = [
        "# Measured by `make bench`", "",
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, librdkafka {version}, "
        f"noida-db 0.2.3 on loopback, CSV to local files, {ROUNDS} rounds taken in turn. Whole processes: minimum / **median** / maximum.", "",
        "| what | wall s | CPU s | peak MiB |", "|---|---|---|---|",
    ]
    for name, figures in rows:
        wall, cpu, memory = zip(*figures)
        lines.append(f"| {name} | {spread(wall)} | {spread(cpu)} | {spread(memory, 0)} |")
    lines += ["", "| ratio | minimum / **median** / maximum |", "|---|---|",
              f"| records/s, Tranche : C program | {spread(ratio, 2)} |",
              f"| CPU, Tranche : C program | {spread([t[1] / c[1] for c, t in zip(limits, catch_up)], 2)} |",
              "", f"Batches of 1,000 offsets per second: {500 / statistics.median(f[0] for f in small_batches):.0f}."]
    return lines


if sys.argv[1:2] == ["load"]:
    load(sys.argv[2], "small", 1000)
    load(sys.argv[2], "large", RECORDS)
else:
    main()
