"""What a batch costs as groups, history and partitions grow, by time, by instructions and by pages
written.

Sizes are measured in turn; where a checkpoint must be large, it is made once and every run starts
from a copy.
"""

import os
import re
import shutil
import sqlite3
import subprocess

import report
from programs import TRANCHE, helper, median

GROUP_COUNTS = [200, 1_000, 100_000, 1_000_000]
GROUP_BATCHES = 100
HISTORIES = [10, 10_000, 100_000]
PARTITION_COUNTS = [6, 100, 1_000]
PARTITION_BATCHES = 500


def groups_name(count):
    return f"200 of {count:,} groups per batch"


def history_name(count):
    return f"{count:,} batches of history"


def partitions_name(count):
    return f"{count:,} partitions"


def instructions_name(count):
    return f"instructions, {count} batches of history"


def groups(stack, figures, in_turn):
    """Builds windows of so many groups, then takes batches that touch 200 of them each; written
    once, at the end of the run."""
    names = [(groups_name(count), f"making {count:,} groups") for count in GROUP_COUNTS]
    runs = {}
    for count, (name, making) in zip(GROUP_COUNTS, names):
        topic = stack.topic("groups", f"groups-{count}", count)
        job = stack.job(topic, topic, 100_000, publish="run_end")
        figures[making] = [stack.tranche(job, count)]
        built = f"{job.checkpoints}-built"
        stack.keep(job, built)
        helper(
            "topics.py", stack.broker, "touches", topic, stack.topics[topic], count, GROUP_BATCHES
        )
        job = stack.job(topic, topic, 1_000, publish="run_end")

        def run(job=job, built=built, count=count):
            measured = stack.tranche(job, GROUP_BATCHES * 1000, checkpoint=built)
            helper("check.py", "holds", job.output, count, count + GROUP_BATCHES * 1000)
            return measured

        runs[name] = run
    in_turn(figures, runs)
    made = [making for _, making in names]
    return [
        "### Groups per window",
        "",
        f"{GROUP_BATCHES} batches of 1,000 offsets touch 200 groups each, chosen at random; "
        f"`publish: run_end`, so the window is rendered once. "
        "Made first, in one run of batches of 100,000 offsets.",
        "",
        *report.steps_table(figures, runs),
        *report.figures_table(figures, [*made, *runs]),
        *report.ratios_table(
            [
                (
                    f"commit, 200 of {count:,} : 200 of 200",
                    report.ratios(
                        figures, groups_name(count), groups_name(200), lambda r: r.step("commit")
                    ),
                )
                for count in GROUP_COUNTS[1:]
            ]
        ),
    ]


def history(stack, figures, in_turn, topic, batches):
    """Puts rows into a small checkpoint's table of batches, as many as so many batches would have
    left."""
    job = stack.job("history", topic, 1_000, publish="run_end")
    stack.tranche(job, HISTORIES[0] * 1000, batches=HISTORIES[0])
    made = {count: f"{job.checkpoints}-{count}" for count in HISTORIES}
    for count, folder in made.items():
        stack.keep(job, folder)
        remember(os.path.join(folder, "history.sqlite"), count)
    runs = {
        history_name(count): lambda folder=folder: stack.tranche(
            job, batches * 1000, batches=batches, checkpoint=folder
        )
        for count, folder in made.items()
    }
    in_turn(figures, runs)
    lines = [
        "### Batches of history",
        "",
        f"{batches} batches of 1,000 offsets; the rows were put into the checkpoint before. "
        f"`publish: run_end`, so what is written is the "
        "checkpoint.",
        "",
        *report.steps_table(figures, runs),
        "| what | pages of 4 KiB written per batch |",
        "|---|---|",
        *(
            f"| {name} | {report.spread([pages(run) for run in figures[name]], 2)} |"
            for name in runs
        ),
        "",
    ]
    if not shutil.which("valgrind"):
        return [*lines, "Instructions were not counted: valgrind is not installed.", ""]
    for count, folder in made.items():
        figures[instructions_name(count)] = instructions(stack, job, folder)
    return [
        *lines,
        "Instructions of a batch, by callgrind: a run of 30 batches less a run of 10, by 20.",
        "",
        "| what | instructions per batch | of a run of 10 batches |",
        "|---|---|---|",
        *(
            "| {} | {:,.0f} | {:,.0f} |".format(
                history_name(count), *figures[instructions_name(count)]
            )
            for count in HISTORIES
        ),
        "",
    ]


def remember(path, count):
    database = sqlite3.connect(path)
    columns = [row[1] for row in database.execute("PRAGMA table_info(batches)")]
    values = ", ".join("number" if column == "batch" else f"batches.{column}" for column in columns)
    database.execute(f"""
        WITH RECURSIVE numbers(number) AS (
            SELECT {HISTORIES[0]} + 1
            UNION ALL SELECT number + 1 FROM numbers WHERE number < {count})
        INSERT INTO batches SELECT {values} FROM numbers
        JOIN batches ON batches.batch = 1 WHERE number <= {count}""")
    database.execute("UPDATE checkpoint SET next_batch = ?", [count + 1])
    database.commit()
    database.close()


def pages(run):
    return run.written_blocks * 512 / 4096 / run.batches


def instructions(stack, job, checkpoint):
    """(instructions per batch, instructions of a run of 10 batches)"""
    few, many = (counted_instructions(stack, job, checkpoint, batches) for batches in (10, 30))
    return (many - few) / 20, few


def counted_instructions(stack, job, checkpoint, batches):
    # Debian 12's valgrind cannot read Swift's debug information.
    program, counts = (
        os.path.join(stack.folder, "tranche-stripped"),
        os.path.join(stack.folder, "callgrind.out"),
    )
    subprocess.run(["strip", "--strip-debug", "-o", program, TRANCHE], check=True)
    stack.restore(job, checkpoint)
    stack.measure(
        [
            "valgrind",
            "-q",
            "--tool=callgrind",
            f"--callgrind-out-file={counts}",
            program,
            *stack.tranche_arguments(job, batches),
        ]
    )
    with open(counts) as file:
        return int(re.search(r"^totals: (\d+)", file.read(), re.MULTILINE)[1])


def partitions(stack, figures, in_turn):
    runs = {}
    for count in PARTITION_COUNTS:
        topic = stack.topic(
            "calls", f"partitions-{count}", PARTITION_BATCHES * 1000, "csv", partitions=count
        )
        job = stack.job(topic, topic, 1_000)
        runs[partitions_name(count)] = lambda job=job: stack.tranche(job, PARTITION_BATCHES * 1000)
    in_turn(figures, runs)
    return [
        "### Partitions",
        "",
        f"{PARTITION_BATCHES} batches of 1,000 offsets. A batch takes from no more than 128 "
        f"partitions unless it needs more to be full.",
        "",
        *report.steps_table(figures, runs),
        *report.figures_table(figures, runs),
        *report.ratios_table(
            [
                (
                    f"milliseconds of a batch's steps, {count:,} partitions : 6",
                    report.ratios(
                        figures, partitions_name(count), partitions_name(6), lambda r: r.batch_ms
                    ),
                )
                for count in PARTITION_COUNTS[1:]
            ]
        ),
    ]


def expectations(figures):
    """Rows for report.expected_table."""

    def ratio(name, base, read):
        return median(report.ratios(figures, name, base, read))

    longest, shortest = history_name(HISTORIES[-1]), history_name(HISTORIES[0])
    return [
        (
            "peak memory, making 10^6 groups",
            "under",
            256,
            " MiB",
            lambda: median(figures["making 1,000,000 groups"], lambda r: r.peak),
        ),
        (
            "peak memory, batches on 10^6 groups",
            "under",
            256,
            " MiB",
            lambda: median(figures[groups_name(1_000_000)], lambda r: r.peak),
        ),
        (
            "10^5 batches of history : 10, instructions per batch",
            "under",
            1.1,
            "",
            lambda: (
                figures[instructions_name(HISTORIES[-1])][0]
                / figures[instructions_name(HISTORIES[0])][0]
            ),
        ),
        (
            "10^5 batches of history : 10, pages written per batch",
            "under",
            1.1,
            "",
            lambda: ratio(longest, shortest, pages),
        ),
        (
            "1,000 partitions : 6, milliseconds per batch",
            "under",
            4,
            "",
            lambda: ratio(partitions_name(1_000), partitions_name(6), lambda r: r.batch_ms),
        ),
        (
            "commit, 200 of 10^6 groups : 200 of 200",
            "under",
            6,
            "",
            lambda: ratio(groups_name(1_000_000), groups_name(200), lambda r: r.step("commit")),
        ),
    ]
