"""How each program is run and measured: Tranche, the C limit and the peers.

Every figure is of a whole process, from its start to its end, as the operating system accounts for
it.
"""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass, field

from servers import ACCESS_KEY, BUCKET, SECRET_KEY

HERE = os.path.dirname(os.path.abspath(__file__))
RELEASE = os.environ.get("BENCH_RELEASE", os.path.join(HERE, "..", ".build", "release"))
TRANCHE = os.path.join(RELEASE, "tranche")
PARTITIONS = 6
LONGEST_SECONDS = 300
# Of a batch, on the run's own thread, and on the publisher's.
RUN_STEPS, PUBLISHER_STEPS = (
    ["plan", "read", "decode", "filter", "fold", "commit"],
    ["render", "encode", "publish"],
)


@dataclass
class Measured:
    wall: float  # seconds
    cpu: float  # seconds, user and system
    peak: float  # MiB
    written_blocks: int  # of 512 bytes
    output: str
    report: dict = field(default_factory=dict)  # Tranche's JSON

    @property
    def batches(self):
        return self.report["batches"]

    def step(self, name):
        """Milliseconds per batch of a step."""
        thread = "run_ms" if name in RUN_STEPS else "publisher_ms"
        return self.report[thread].get(name, 0) / self.batches

    @property
    def batch_ms(self):
        """Milliseconds per batch that the run's own thread spends in the steps of a batch."""
        return sum(self.step(name) for name in RUN_STEPS)

    @property
    def other_ms(self):
        """Milliseconds per batch beside them: starting, meeting the brokers, and at the end waiting
        for the publisher."""
        return self.wall * 1000 / self.batches - self.batch_ms


def build(folder):
    """The two C programs."""
    for name, *libraries in (["measure"], ["limit", "-lrdkafka"]):
        subprocess.run(
            [
                "gcc",
                "-O2",
                "-o",
                os.path.join(folder, name),
                os.path.join(HERE, f"{name}.c"),
                *libraries,
            ],
            check=True,
        )


def helper(script, *arguments):
    """Runs one of the scripts beside this one and returns what it prints."""
    command = [sys.executable, os.path.join(HERE, script), *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


@dataclass
class Job:
    path: str
    checkpoints: str
    output: str  # folder with its objects, also on S3
    name: str


class Stack:
    """A broker, its topics, an S3 server (address and folder of buckets), the librdkafka that the
    programs run with, and folders: for what they write, and of the C programs."""

    def __init__(self, folder, binaries, broker, s3=None, library=None):
        self.folder, self.binaries, self.broker, self.s3 = folder, binaries, broker, s3
        self.environment = {
            **os.environ,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        }
        self.environment.pop("LD_LIBRARY_PATH", None)
        if library:
            self.environment["LD_LIBRARY_PATH"] = library
        self.topics = {}
        self.moves = 0
        os.makedirs(folder, exist_ok=True)

    def topic(self, kind, name, count, *more, partitions=PARTITIONS):
        """Fills a topic (see topics.py), if that is not done."""
        if name not in self.topics:
            helper("topics.py", self.broker, kind, name, partitions, count, *more)
            self.topics[name] = partitions
        return name

    def job(
        self,
        name,
        topic,
        max_offsets,
        window="global",
        format="csv",
        publish="batch",
        start="earliest",
        to_s3=False,
        fields="api_id: int32, time_taken: int32",
        measures="calls: count(), time_taken: sum(time_taken)",
    ):
        # The limit of groups is far from what any job holds: at the limit, each batch counts them
        # all.
        path = os.path.join(self.folder, f"{name}.yaml")
        output = os.path.join(self.folder, "out", name)
        to = f'to: "file:{output}"'
        if to_s3:
            address, buckets = self.s3
            output = os.path.join(buckets, BUCKET, name)
            to = f'to: "s3://{BUCKET}/{name}", s3: {{ endpoint: "http://{address}" }}'
        with open(path, "w") as file:
            file.write(f"""name: {name}
source:
  kafka: [{{ name: main, properties: {{ bootstrap.servers: "{self.broker}" }}, topics: [{topic}] }}]
  start: {start}
  format: {format}
  fields: {{ {fields} }}
trigger: {{ max_offsets: {max_offsets} }}
window: {window}
aggregate: {{ by: [api_id], measures: {{ {measures} }} }}
select: {{ percentage_time: 100.0 * time_taken / sum(time_taken) OVER () }}
output: {{ {to}, format: parquet, publish: {publish} }}
limits: {{ groups_per_window: 4000000 }}
""")
        return Job(path, os.path.join(self.folder, "checkpoints", name), output, name)

    def measure(self, command):
        os.sync()  # so that nothing of an earlier process is written during this one
        done = subprocess.run(
            [os.path.join(self.binaries, "measure"), str(LONGEST_SECONDS), *command],
            stdout=subprocess.PIPE,
            text=True,
            env=self.environment,
        )
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)} failed: {done.stdout}")
        *output, figures = done.stdout.splitlines()
        wall, cpu, peak, blocks = figures.split()
        return Measured(float(wall), float(cpu), int(peak) / 1024, int(blocks), "\n".join(output))

    def tranche_arguments(self, job, batches=None):
        return [
            "run",
            job.path,
            "--checkpoints",
            job.checkpoints,
            "--json",
            *(["--batches", str(batches)] if batches else []),
        ]

    def tranche(self, job, records, batches=None, checkpoint=None):
        """Runs a job from the beginning, or from a checkpoint: the job's own, or one that keep()
        has copied."""
        if checkpoint != job.checkpoints:
            self.restore(job, checkpoint)
        return self.reported(self.tranche_arguments(job, batches), job, records)

    def backfill(self, job, records, checkpoint):
        """Counts what lies below the start of a job whose checkpoint keep() has copied."""
        self.restore(job, checkpoint)
        place = ["--checkpoints", job.checkpoints]
        return self.reported(
            ["backfill", job.path, *place, "--before-start", "--json"], job, records
        )

    def reported(self, arguments, job, records):
        measured = self.measure([TRANCHE, *arguments])
        # A backfill tells of its request first.
        measured.report = json.loads(measured.output.splitlines()[-1])
        if measured.report["records"] != records:
            sys.exit(
                f"{job.path}: {measured.report['records']} records were read instead of {records}"
            )
        return measured

    def keep(self, job, folder):
        """Copies a job's checkpoint, and its objects beside it: a checkpoint that is older than its
        place is refused."""
        shutil.copytree(job.checkpoints, folder)
        os.makedirs(job.output, exist_ok=True)  # a run that read nothing has made none
        shutil.copytree(job.output, f"{folder}-objects")

    def restore(self, job, folder=None):
        """Puts back what keep() has copied, or lets the job begin anew at an empty place."""
        shutil.rmtree(job.checkpoints, ignore_errors=True)
        if self.s3 and job.output.startswith(self.s3[1]):
            return self.move(job)
        shutil.rmtree(job.output, ignore_errors=True)
        if folder:
            shutil.copytree(folder, job.checkpoints)
            shutil.copytree(f"{folder}-objects", job.output)

    def move(self, job):
        """Another prefix: what is deleted behind the S3 server's back stays in its cache."""
        self.moves += 1
        place = f"{job.name}-{self.moves}"
        with open(job.path) as file:
            text = file.read()
        with open(job.path, "w") as file:
            file.write(re.sub(rf"s3://{BUCKET}/[^\"]*", f"s3://{BUCKET}/{place}", text))
        job.output = os.path.join(self.s3[1], BUCKET, place)

    def limit(self, topic, records, max_offsets, mode="sum", queues=None):
        output = self.sums(topic)
        return self.counted(
            [
                os.path.join(self.binaries, "limit"),
                mode,
                self.broker,
                topic,
                str(self.topics[topic]),
                str(records),
                output,
                *(queues or fitted_queues(max_offsets, self.topics[topic])),
            ],
            records,
        )

    def sums(self, topic):
        """Where the C limit writes what it makes of a topic."""
        return os.path.join(self.folder, f"{topic}.csv")

    def peer(self, kind, topic, records, size, format="csv"):
        folder = self.peer_output(kind, topic)
        shutil.rmtree(folder, ignore_errors=True)
        return self.counted(
            [
                sys.executable,
                os.path.join(HERE, "peer.py"),
                kind,
                format,
                self.broker,
                topic,
                str(self.topics[topic]),
                folder,
                str(size),
                str(-(-records // size)),
            ],
            records,
        )

    def peer_output(self, kind, topic):
        return os.path.join(self.folder, "out", f"{kind}-{topic}")

    def counted(self, command, records):
        measured = self.measure(command)
        if int(measured.output) != records:
            sys.exit(
                f"{' '.join(command)}: {measured.output.strip()} records were read instead of "
                f"{records}"
            )
        return measured


def fitted_queues(max_offsets, partitions):
    """The sizes that Tranche sets: FetchSizes in Sources/Kafka/ClientConfiguration.swift. Tranche
    has a queue for each partition; the C program has one for all of them, as a plain consumer has,
    and librdkafka holds that one against the limits of each: so it gets their sum."""
    fetch = min(max(max_offsets, 1024), 2048) * 64
    messages = min(max(2 * (max_offsets // partitions + 1), 1000), max(100, 12_000 // partitions))
    return [
        f"message.max.bytes={fetch}",
        f"fetch.max.bytes={fetch}",
        f"fetch.message.max.bytes={min(fetch, max(32_768, 1_048_576 // partitions))}",
        f"queued.min.messages={messages * partitions}",
        f"queued.max.messages.kbytes={max(64, 32_768 // partitions) * partitions}",
    ]


# What one would set who has memory to spare.
LARGE_QUEUES = [
    "fetch.max.bytes=16777216",
    "fetch.message.max.bytes=1048576",
    "queued.min.messages=1000000",
    "queued.max.messages.kbytes=1048576",
]


def median(values, read=float):
    return statistics.median(read(value) for value in values)
