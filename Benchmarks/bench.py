"""Measures Tranche beside the C limit and two Python peers, in turn, and writes
Benchmarks/results.md. Claims are the ratios.

Usage: bench.py [SECTION ...]

Sections: cold, catch_up, backfill, volume, json, growth, parquet, debian. Without a name all of
them run; with names those run, and are only printed.

BENCH_ROUNDS (5) and BENCH_RECORDS (2000000, from 200000 on) make it shorter; BENCH_RELEASE names
another folder with the binaries.

The volume broker is Tansu, which needs librdkafka 2.2 or newer, so every program runs with the one
in confluent-kafka's wheel. Debian's is measured on noida-db.
"""

import contextlib
import glob
import json
import os
import re
import shutil
import signal
import sqlite3
import sys
import tempfile
import time

import confluent_kafka

import growth
import report
import servers
from programs import HERE, LARGE_QUEUES, PARTITIONS, RELEASE, TRANCHE, Stack, build, helper, median

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
RECORDS = int(os.environ.get("BENCH_RECORDS", "2000000"))
BATCHES = RECORDS // 1000
PEER_RECORDS = min(RECORDS, 500_000)
WIDE_RECORDS, SHUFFLED_RECORDS = min(RECORDS, 300_000), min(RECORDS, 100_000)
DEBIAN_RECORDS = min(RECORDS, 300_000)

# Names of figures that ratios and expectations ask for.
COLD, COLD_S3, COLD_DEEP = (
    "1,000 records, Tranche, files",
    "1,000 records, Tranche, S3",
    "1,000 of all, Tranche, files",
)
COLD_C, COLD_PYARROW, COLD_DUCKDB = (
    f"1,000 records, {peer}"
    for peer in ("C limit", "confluent-kafka + pyarrow", "confluent-kafka + duckdb")
)
IDLE = "nothing new, Tranche"
ONE, ONE_S3 = "one window, files", "one window, S3"
NEW, SEVERAL = "a new window per batch, files", "four or five windows per batch, files"
CSV, JSON, C_CSV, C_JSON = "Tranche, CSV", "Tranche, JSON", "C limit, CSV", "C limit, bytes of JSON"
WIDE, SHUFFLED = "25 fields, 4 declared", "100 fields in any order, 4 declared"
BY_NAME, BY_PATH = "two fields by name", "the same message, two fields by path"
CAUGHT_UP, BACKFILLED = "a catch-up", "a backfill of the same offsets"
SYNCS = "syncs of the checkpoint per batch"


def in_turn(figures, rounds, measures):
    """Runs each of some measures, then each again, for so many rounds."""
    for _ in range(rounds):
        for name, measure in measures.items():
            figures.setdefault(name, []).append(measure())


def wall(run):
    return run.wall


def cpu(run):
    return run.cpu


def decoding(run):
    return run.step("decode")


# Each section takes its measures into `figures` and returns its part of results.md.


def cold(stack, figures):
    small, large = (
        stack.topic("calls", "small", 1_000, "csv"),
        stack.topic("calls", "large", RECORDS, "csv"),
    )
    files, s3 = stack.job("cold", small, 1_000), stack.job("cold-s3", small, 1_000, to_s3=True)
    deep = stack.job("cold-deep", large, 1_000)
    measures = {
        COLD: lambda: stack.tranche(files, 1_000),
        IDLE: lambda: stack.tranche(files, 0, checkpoint=files.checkpoints),
        COLD_S3: lambda: stack.tranche(s3, 1_000),
        COLD_C: lambda: stack.limit(small, 1_000, 1_000),
        COLD_PYARROW: lambda: stack.peer("pyarrow", small, 1_000, 1_000),
        COLD_DUCKDB: lambda: stack.peer("duckdb", small, 1_000, 1_000),
        COLD_DEEP: lambda: stack.tranche(deep, 1_000, batches=1),
        "1,000 of all, C limit": lambda: stack.limit(large, 1_000, 1_000),
        "1,000 of all, confluent-kafka + pyarrow": lambda: stack.peer(
            "pyarrow", large, 1_000, 1_000
        ),
        "1,000 of all, confluent-kafka + duckdb": lambda: stack.peer("duckdb", large, 1_000, 1_000),
    }
    in_turn(figures, ROUNDS, measures)
    helper(
        "check.py",
        "agree",
        stack.sums(small),
        files.output,
        s3.output,
        *(stack.peer_output(kind, small) for kind in ("pyarrow", "duckdb")),
    )
    return [
        "## Cold start",
        "",
        f"One run from nothing: 1,000 records, commit and Parquet published; then the same with "
        f"{RECORDS:,} waiting and `--batches 1`. "
        f"Rounds: {ROUNDS}. The peers keep offsets and sums in a JSON file, synced; the C program "
        f"writes CSV, syncs nothing and keeps nothing.",
        "",
        *report.figures_table(figures, measures),
        *report.ratios_table(
            [
                ("wall, Tranche : C limit", report.ratios(figures, COLD, COLD_C, wall)),
                ("wall, S3 : files", report.ratios(figures, COLD_S3, COLD, wall)),
                ("wall, pyarrow peer : Tranche", report.ratios(figures, COLD_PYARROW, COLD, wall)),
                ("CPU, pyarrow peer : Tranche", report.ratios(figures, COLD_PYARROW, COLD, cpu)),
                ("wall, duckdb peer : Tranche", report.ratios(figures, COLD_DUCKDB, COLD, wall)),
                (
                    "wall, all waiting : 1,000 waiting",
                    report.ratios(figures, COLD_DEEP, COLD, wall),
                ),
            ]
        ),
    ]


def catch_up(stack, figures):
    large = stack.topic("calls", "large", RECORDS, "csv")
    jobs = {
        ONE: stack.job("one-window", large, 1_000),
        ONE_S3: stack.job("one-window-s3", large, 1_000, to_s3=True),
        NEW: stack.job("new-windows", large, 1_000, window="{ tumbling: 1s }"),
        SEVERAL: stack.job("several-windows", large, 1_000, window="{ tumbling: 250ms }"),
    }
    tranche = {name: lambda job=job: stack.tranche(job, RECORDS) for name, job in jobs.items()}
    peers = {
        f"one window, {kind} peer, {PEER_RECORDS // 1000} batches": lambda kind=kind: stack.peer(
            kind, large, PEER_RECORDS, 1_000
        )
        for kind in ("pyarrow", "duckdb")
    }
    in_turn(figures, ROUNDS, tranche | peers)
    dearer = [
        (
            f"milliseconds per batch, {kind} peer : Tranche",
            [ratio * RECORDS / PEER_RECORDS for ratio in report.ratios(figures, name, ONE, wall)],
        )
        for kind, name in zip(("pyarrow", "duckdb"), peers)
    ]
    stack.limit(large, RECORDS, 100_000)
    helper("check.py", "agree", stack.sums(large), *(job.output for job in jobs.values()))
    lines = [
        "## Catch-up in batches of 1,000 offsets",
        "",
        f"{BATCHES:,} batches, 200 groups. Rounds: {ROUNDS}. Milliseconds per batch, medians; "
        f"`other` is starting, meeting the broker and, at "
        "the end, waiting for the publisher, whose steps go on beside the run's.",
        "",
        *report.steps_table(figures, tranche),
        *report.figures_table(figures, tranche | peers),
        *report.ratios_table(
            [("batches/s, S3 : files", report.ratios(figures, ONE, ONE_S3, wall)), *dearer]
        ),
    ]
    if not shutil.which("strace"):
        return [*lines, "Syncs were not counted: strace is not installed.", ""]
    few, many = (syncs(stack, jobs[ONE], batches) for batches in (10, 110))
    figures[SYNCS] = (many - few) / 100
    return [
        *lines,
        f"By strace, a run of 110 batches less one of 10: {figures[SYNCS]:.2f} syncs of the "
        f"checkpoint's files per batch.",
        "",
    ]


def backfill(stack, figures):
    large = stack.topic("calls", "large", RECORDS, "csv")
    caught_up, late = (
        stack.job(f"from-{start}", large, 1_000, start=start) for start in ("earliest", "latest")
    )
    stack.tranche(late, 0)
    at_the_end = os.path.join(stack.folder, "at-the-end")
    stack.keep(late, at_the_end)
    measures = {
        CAUGHT_UP: lambda: stack.tranche(caught_up, RECORDS),
        BACKFILLED: lambda: stack.backfill(late, RECORDS, at_the_end),
    }
    in_turn(figures, ROUNDS, measures)
    stack.limit(large, RECORDS, 100_000)
    helper("check.py", "agree", stack.sums(large), caught_up.output, late.output)
    path = os.path.join(late.checkpoints, "from-latest.sqlite")
    with contextlib.closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT count(*) FROM backfilled").fetchone()[0]
    return [
        "## Backfill in batches of 1,000 offsets",
        "",
        f"{BATCHES:,} batches: a job that starts at the earliest offset, and one that starts at "
        f"the end and is backfilled by `--before-start`. Rounds: {ROUNDS}. The ledger of the "
        f"backfilled offsets then has {rows:,} rows, for {PARTITIONS} partitions.",
        "",
        *report.steps_table(figures, measures),
        *report.figures_table(figures, measures),
        *report.ratios_table(
            [
                ("wall, backfill : catch-up", report.ratios(figures, BACKFILLED, CAUGHT_UP, wall)),
                ("CPU, backfill : catch-up", report.ratios(figures, BACKFILLED, CAUGHT_UP, cpu)),
            ]
        ),
    ]


def syncs(stack, job, batches):
    """How often a run syncs a file of its checkpoint."""
    stack.restore(job)
    log = os.path.join(stack.folder, "strace.log")
    stack.measure(
        [
            "strace",
            "-f",
            "-y",
            "-e",
            "trace=fsync,fdatasync",
            "-o",
            log,
            TRANCHE,
            *stack.tranche_arguments(job, batches),
        ]
    )
    with open(log) as file:
        return len(re.findall(r"sync\(\d+<[^>]*\.sqlite[^>]*>", file.read()))


def volume(stack, figures):
    large, large_json = (
        stack.topic("calls", "large", RECORDS, "csv"),
        stack.topic("calls", "large-json", RECORDS, "json"),
    )
    csv, json = (
        stack.job("volume", large, 100_000),
        stack.job("volume-json", large_json, 100_000, format="json"),
    )
    c_large, pyarrow = "C limit, CSV, large queues", "confluent-kafka + pyarrow, CSV"
    measures = {
        CSV: lambda: stack.tranche(csv, RECORDS),
        C_CSV: lambda: stack.limit(large, RECORDS, 100_000),
        c_large: lambda: stack.limit(large, RECORDS, 100_000, queues=LARGE_QUEUES),
        pyarrow: lambda: stack.peer("pyarrow", large, RECORDS, 100_000),
        JSON: lambda: stack.tranche(json, RECORDS),
        C_JSON: lambda: stack.limit(large_json, RECORDS, 100_000, mode="bytes"),
    }
    in_turn(figures, ROUNDS, measures)
    helper(
        "check.py",
        "agree",
        stack.sums(large),
        csv.output,
        json.output,
        stack.peer_output("pyarrow", large),
    )
    rates = ", ".join(
        f"{name} {median(figures[name], lambda r: RECORDS / r.wall) / 1e6:.2f}" for name in measures
    )
    return [
        "## Catch-up in batches of 100,000 offsets",
        "",
        f"{RECORDS:,} records. Rounds: {ROUNDS}. The C limit has the queue limits that Tranche "
        f"sets; with large queues it shows "
        "what memory buys.",
        "",
        *report.figures_table(figures, measures),
        *report.ratios_table(
            [
                ("records/s, Tranche : C limit, CSV", report.ratios(figures, C_CSV, CSV, wall)),
                ("CPU, Tranche : C limit, CSV", report.ratios(figures, CSV, C_CSV, cpu)),
                (
                    "records/s, Tranche : C limit with large queues, CSV",
                    report.ratios(figures, c_large, CSV, wall),
                ),
                ("records/s, Tranche : C limit, JSON", report.ratios(figures, C_JSON, JSON, wall)),
                ("wall, pyarrow peer : Tranche, CSV", report.ratios(figures, pyarrow, CSV, wall)),
            ]
        ),
        f"Million records per second, medians: {rates}.",
        "",
        *report.steps_table(figures, [CSV, JSON]),
    ]


def peers_of(name):
    return [f"{name}, confluent-kafka + {kind}" for kind in ("pyarrow", "duckdb")]


def wide_json(stack, figures):
    topics = {
        WIDE: stack.topic("events", "wide", WIDE_RECORDS, "25", "ordered"),
        SHUFFLED: stack.topic("events", "shuffled", SHUFFLED_RECORDS, "100", "shuffled"),
    }
    counts = {WIDE: WIDE_RECORDS, SHUFFLED: SHUFFLED_RECORDS}

    def job(name, topic, fields, measures="calls: count(), time_taken: sum(time_taken)"):
        return stack.job(name, topic, 100_000, format="json", fields=fields, measures=measures)

    jobs = {
        name: job(
            topic,
            topic,
            "api_id: int32, time_taken: int32, bytes_sent: int64, duration: double",
            "calls: count(), time_taken: sum(time_taken), bytes_sent: sum(bytes_sent), "
            "duration: sum(duration)",
        )
        for name, topic in topics.items()
    }
    jobs[BY_NAME] = job("by-name", topics[WIDE], "api_id: int32, time_taken: int32")
    jobs[BY_PATH] = job(
        "by-path",
        topics[WIDE],
        "api_id: { type: int32, path: $.call.api_id }, "
        "time_taken: { type: int32, path: $.call.time_taken }",
    )
    measures = {
        name: lambda name=name: stack.tranche(jobs[name], counts.get(name, WIDE_RECORDS))
        for name in jobs
    }
    for name, topic in topics.items():
        for peer, kind in zip(peers_of(name), ("pyarrow", "duckdb")):
            measures[peer] = lambda kind=kind, topic=topic, name=name: stack.peer(
                kind, topic, counts[name], 100_000, format="json"
            )
    in_turn(figures, ROUNDS, measures)
    for name, topic in topics.items():
        outputs = [jobs[name].output, *(stack.peer_output(k, topic) for k in ("pyarrow", "duckdb"))]
        if name == WIDE:
            outputs += [jobs[BY_NAME].output, jobs[BY_PATH].output]
        helper("check.py", "alike", *outputs)
    return [
        "## JSON of many fields",
        "",
        f"{WIDE_RECORDS:,} records of 25 fields in one order, and {SHUFFLED_RECORDS:,} of 100 "
        f"fields in another order each time; a job declares 4 and sums 3 of them. Batches of "
        f"100,000 offsets. Rounds: {ROUNDS}.",
        "",
        *report.figures_table(figures, measures),
        *report.ratios_table(
            [
                *(
                    (f"CPU, {peer} : Tranche", report.ratios(figures, peer, name, cpu))
                    for name in topics
                    for peer in peers_of(name)
                ),
                ("CPU, by path : by name", report.ratios(figures, BY_PATH, BY_NAME, cpu)),
                (
                    "decoding, by path : by name",
                    report.ratios(figures, BY_PATH, BY_NAME, decoding),
                ),
            ]
        ),
        *report.steps_table(figures, jobs),
    ]


def grow(stack, figures):
    rounds = min(3, ROUNDS)

    def turns(figures, measures):
        in_turn(figures, rounds, measures)

    large = stack.topic("calls", "large", RECORDS, "csv")
    return [
        "## Growth",
        "",
        f"Rounds: {rounds}.",
        "",
        *growth.groups(stack, figures, turns),
        *growth.history(
            stack, figures, turns, large, batches=min(200, BATCHES - growth.HISTORIES[0])
        ),
        *growth.partitions(stack, figures, turns),
    ]


def parquet(stack, figures):
    ours = json.loads(
        helper(
            "check.py",
            "parquet",
            os.path.join(RELEASE, "ParquetBenchmark"),
            os.path.join(stack.folder, "large.parquet"),
        )
    )
    return [
        "## Parquet",
        "",
        f"1,000,000 rows of five columns, zstd level 1, one core: {1e3 / ours['large_ms']:.1f} "
        f"million rows/s and {ours['bytes']:,} bytes; "
        f"pyarrow: {1e3 / ours['pyarrow_ms']:.1f} million rows/s and {ours['pyarrow_bytes']:,} "
        f"bytes; ratios "
        f"{ours['pyarrow_ms'] / ours['large_ms']:.2f} and "
        f"{ours['bytes'] / ours['pyarrow_bytes']:.2f}. 200 rows: {ours['small_ms']:.3f} ms.",
        "",
        "The same table by level of zstd: "
        + "; ".join(f"{level}: {ms:.0f} ms, {count:,} bytes" for level, ms, count in ours["levels"])
        + ".",
        "",
        f"10,000,000 rows of one column ({ours['table_mib']} MiB), written piece by piece, take "
        f"{ours['more_mib']} MiB besides.",
        "",
    ]


def debian(stack, figures):
    """The same on a broker that old clients can use, with both librdkafkas."""
    old, new = (
        report.printed("pkg-config", "--modversion", "rdkafka"),
        confluent_kafka.libversion()[0],
    )
    with servers.noida(stack.folder) as broker:
        filler = Stack(os.path.join(stack.folder, "debian"), stack.binaries, broker)
        small, large = (
            filler.topic("calls", "small", 1_000, "csv"),
            filler.topic("calls", "large", DEBIAN_RECORDS, "csv"),
        )
        time.sleep(
            2
        )  # within a second of a change the broker writes its state down, which takes a core
        by_library, outputs = [], []
        for library, path in ((old, None), (new, stack.environment["LD_LIBRARY_PATH"])):
            each = Stack(
                os.path.join(stack.folder, f"debian-{library}"),
                stack.binaries,
                broker,
                library=path,
            )
            each.topics = filler.topics
            files, volume = each.job("cold", small, 1_000), each.job("volume", large, 100_000)
            outputs.append(volume.output)
            by_library.append(
                {
                    f"1,000 records, Tranche, {library}": lambda each=each, files=files: (
                        each.tranche(files, 1_000)
                    ),
                    f"nothing new, Tranche, {library}": lambda each=each, files=files: each.tranche(
                        files, 0, checkpoint=files.checkpoints
                    ),
                    f"1,000 records, C limit, {library}": lambda each=each: each.limit(
                        small, 1_000, 1_000
                    ),
                    f"{DEBIAN_RECORDS:,} records, Tranche, "
                    f"{library}": lambda each=each, volume=volume: each.tranche(
                        volume, DEBIAN_RECORDS
                    ),
                    f"{DEBIAN_RECORDS:,} records, C limit, {library}": lambda each=each: each.limit(
                        large, DEBIAN_RECORDS, 100_000
                    ),
                }
            )
        measures = dict(
            entry for pair in zip(*(measures.items() for measures in by_library)) for entry in pair
        )
        in_turn(figures, ROUNDS, measures)
        helper("check.py", "agree", each.sums(large), *outputs)
    return [
        "## Debian's librdkafka",
        "",
        f"{old} cannot shorten the pause of a full queue (fetch.queue.backoff.ms) and cannot talk "
        f"to Tansu, so both versions were measured on "
        f"noida-db, which ignores fetch sizes: {DEBIAN_RECORDS:,} records only, in batches of "
        f"100,000 offsets, and no claims about memory. "
        f"Rounds: {ROUNDS}. No targets.",
        "",
        *report.figures_table(figures, measures),
    ]


SECTIONS = {
    "cold": cold,
    "catch_up": catch_up,
    "backfill": backfill,
    "volume": volume,
    "json": wide_json,
    "growth": grow,
    "parquet": parquet,
    "debian": debian,
}


def expectations(figures):
    """The table "Expected" of issue 5."""

    def of(name, read):
        return lambda: median(figures[name], read)

    def ratio(numerators, denominators, read):
        return lambda: median(report.ratios(figures, numerators, denominators, read))

    def rate(run):
        return run.batches / run.wall

    def largest_peak():
        return max(
            median(figures[name], lambda r: r.peak)
            for name in (
                *(COLD, COLD_S3, COLD_DEEP, IDLE, ONE, NEW, SEVERAL, ONE_S3),
                *(BACKFILLED, CSV, JSON),
            )
        )

    return [
        ("cold start, files, wall", "under", 60, " ms", of(COLD, lambda r: r.wall * 1000)),
        ("cold start, files, CPU", "under", 45, " ms", of(COLD, lambda r: r.cpu * 1000)),
        ("cold start, files, peak memory", "under", 40, " MiB", of(COLD, lambda r: r.peak)),
        (
            f"cold start with {RECORDS:,} waiting, wall",
            "under",
            100,
            " ms",
            of(COLD_DEEP, lambda r: r.wall * 1000),
        ),
        ("idle run, wall", "under", 40, " ms", of(IDLE, lambda r: r.wall * 1000)),
        ("1,000-offset batches, one window, files", "over", 500, " batches/s", of(ONE, rate)),
        ("... the stretch", "over", 650, " batches/s", of(ONE, rate)),
        ("... syncs of the checkpoint per batch", "under", 1.1, "", lambda: figures[SYNCS]),
        ("... a new window per batch", "over", 350, " batches/s", of(NEW, rate)),
        ("... one window, S3 : files, batches/s", "at least", 0.8, "", ratio(ONE, ONE_S3, wall)),
        (
            "wall, backfill : catch-up, 1,000-offset batches",
            "under",
            1.15,
            "",
            ratio(BACKFILLED, CAUGHT_UP, wall),
        ),
        (
            "100,000-offset batches, CSV, records/s, Tranche : C limit",
            "at least",
            0.9,
            "",
            ratio(C_CSV, CSV, wall),
        ),
        ("... CPU, Tranche : C limit", "under", 1.3, "", ratio(CSV, C_CSV, cpu)),
        (
            "... JSON, records/s, Tranche : C limit, bytes only",
            "at least",
            0.6,
            "",
            ratio(C_JSON, JSON, wall),
        ),
        *(
            (f"JSON of {name}, CPU, {peer.split(' + ')[1]} peer : Tranche", "over", 2, "",
             ratio(peer, name, cpu))
            for name in (WIDE, SHUFFLED)
            for peer in peers_of(name)
        ),
        ("... decoding, fields by path : by name", "under", 1.2, "",
         ratio(BY_PATH, BY_NAME, decoding)),
        ("largest peak memory of all of the above", "under", 64, " MiB", largest_peak),
        *growth.expectations(figures),
    ]


def main(chosen):
    if unknown := set(chosen) - set(SECTIONS):
        sys.exit(f"{', '.join(sorted(unknown))}: no such section\n{__doc__}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    started = time.monotonic()
    figures, lines = {}, []
    with (
        tempfile.TemporaryDirectory(prefix="tranche-bench-") as folder,
        contextlib.ExitStack() as running,
    ):
        library = os.path.join(folder, "lib")
        os.mkdir(library)
        wheel = os.path.join(servers.PACKAGES, "confluent_kafka.libs", "librdkafka-*.so.1")
        os.symlink(glob.glob(wheel)[0], os.path.join(library, "librdkafka.so.1"))
        build(folder)
        stack = Stack(
            folder,
            folder,
            running.enter_context(servers.tansu(folder)),
            running.enter_context(servers.rclone(folder)),
            library,
        )
        for name in chosen or SECTIONS:
            print(f"{time.monotonic() - started:4.0f} s  {name}", file=sys.stderr, flush=True)
            lines += SECTIONS[name](stack, figures)
        lines = [
            "# Measured by `make bench`",
            "",
            *report.machine(folder),
            "",
            "## Expected",
            "",
            "Medians. Ratios are of runs in the same round.",
            "",
            *report.expected_table(expectations(figures)),
            *lines,
        ]
    text = "\n".join(map(report.wrapped, lines)).strip() + "\n"
    if not chosen:
        with open(os.path.join(HERE, "results.md"), "w") as file:
            file.write(text)
    print(text)


if __name__ == "__main__":
    main(sys.argv[1:])
