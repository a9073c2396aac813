"""The whole circle on one machine: ClickHouse, Kafka, Tranche, S3 and ClickHouse again.

Usage: circle.py FILES FOLDER [NAME]. Runs a copy of FILES (jobs/clickhouse) and prints every step.
FOLDER is emptied first; ClickHouse's data and the checkpoints go there. NAME stands for api_calls
in the names of topics and objects; a number is added where the topics of an earlier run have it.
The servers are those of the environment (KAFKA_BROKERS, S3_ENDPOINT and AWS's keys), the binary is
TRANCHE. Ends with 1 if ClickHouse computes other results than Tranche.
"""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys

from chdb import session
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

FILES = "jobs/clickhouse"
FORMATS = ("csv", "json")
PARTITIONS = 6

folder = os.path.abspath(sys.argv[2])
broker = os.environ["KAFKA_BROKERS"]
admin = AdminClient({"bootstrap.servers": broker})
binary = os.path.abspath(os.environ["TRANCHE"])


def say(text):
    print(text, flush=True)


def free_name(wanted):
    taken = admin.list_topics(timeout=20).topics
    names = itertools.chain([wanted], (f"{wanted}_{number}" for number in itertools.count(2)))
    return next(name for name in names if f"{name}_{FORMATS[0]}" not in taken)


def copy_files():
    # The files are for the ports that `make stack` takes unless told otherwise.
    addresses = {
        "api_calls": name,
        "localhost:9092": broker,
        "http://localhost:9000": os.environ["S3_ENDPOINT"],
        "'tranche-local'": f"'{os.environ['AWS_ACCESS_KEY_ID']}'",
        "'tranche-local-secret'": f"'{os.environ['AWS_SECRET_ACCESS_KEY']}'",
    }
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(os.path.join(folder, FILES))
    for file in os.listdir(sys.argv[1]):
        # Anything else is a checkpoint of someone who ran a job there.
        if not file.endswith((".sql", ".yaml")):
            continue
        with open(os.path.join(sys.argv[1], file)) as source:
            text = source.read()
        for old, new in addresses.items():
            text = text.replace(old, new)
        with open(os.path.join(folder, FILES, file), "w") as target:
            target.write(text)


def make_topics():
    topics = [f"{name}_{kind}" for kind in FORMATS]
    # The calls are of a fixed day, which a broker's default retention would take for old.
    new = [
        NewTopic(topic, PARTITIONS, 1, config={"retention.ms": "1000000000000000"})
        for topic in topics
    ]
    for future in admin.create_topics(new).values():
        future.result(30)
    say(f"Topics of {PARTITIONS} partitions: {', '.join(topics)}")


def statements(file):
    with open(os.path.join(folder, FILES, file)) as source:
        text = re.sub(r"^--.*\n", "", source.read(), flags=re.MULTILINE)
    return [part.strip() for part in text.split(";\n") if part.strip()]


def clickhouse(title, file):
    """Runs the statements of a file; prints their results and returns those of the last."""
    say(f"\n{title}: {FILES}/{file}")
    for statement in statements(file):
        result = database.query(statement, "PrettyCompactMonoBlock").bytes().decode()
        if result:
            print(result, end="", flush=True)
    if not statement.startswith("SELECT"):
        return []
    return json.loads(database.query(statement, "JSON").bytes())["data"]


def show_first_messages():
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "circle"})
    for kind in FORMATS:
        topic = f"{name}_{kind}"
        ends = [
            consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=20)[1]
            for number in range(PARTITIONS)
        ]
        first = next((number for number, end in enumerate(ends) if end), None)
        if first is None:
            sys.exit(f"ClickHouse pushed nothing to {topic}")
        consumer.assign([TopicPartition(topic, first, 0)])
        message = consumer.poll(20)
        if message is None or message.error():
            sys.exit(f"{topic}: no message: {message and message.error()}")
        say(f"\nThe first message of {topic}, key {message.key().decode()}:")
        say(message.value().decode().rstrip("\n"))
    consumer.close()


def tranche(*arguments):
    say(f"\n$ tranche {' '.join(arguments)}")
    exit_code = subprocess.run([binary, *arguments], cwd=folder).returncode
    if exit_code:
        sys.exit(f"tranche {arguments[0]} ended with exit code {exit_code}")


def run_jobs():
    for kind in FORMATS:
        tranche("run", f"{FILES}/shares-{kind}.yaml")


def faults(compared):
    """What is wrong with the comparison of all groups, if anything."""
    if [row["format"] for row in compared] != list(FORMATS):
        yield "nothing was compared"
    for row in compared:
        for column in ("missing", "extra", "different"):
            if int(row[column]):
                yield f"{row['format']}: {row[column]} groups {column}"
        for column in ("percentage_off_by", "rank_off_by"):
            # NULL where no group is on both sides.
            if row[column] is None or float(row[column]) > 1e-12:
                yield f"{row['format']}: {column} {row[column]}"


name = free_name(sys.argv[3] if len(sys.argv) > 3 else "api_calls")
copy_files()
make_topics()
database = session.Session(os.path.join(folder, "clickhouse"))
clickhouse("ClickHouse: the table, the queues and the views", "tables.sql")
clickhouse("ClickHouse: calls of three services", "calls.sql")
show_first_messages()
tranche("plan", f"{FILES}/shares-csv.yaml")
run_jobs()
tranche("show", f"{FILES}/shares-csv.yaml", "--rows", "3")
found = list(faults(clickhouse("ClickHouse reads the objects and compares", "compare.sql")))
if found:
    sys.exit("\nClickHouse and Tranche disagree: " + "; ".join(found))
say("ClickHouse and Tranche agree.")
clickhouse("ClickHouse: rows that are inserted and not pushed", "death.sql")
run_jobs()
clickhouse("ClickHouse: what was lost", "lost.sql")
clickhouse("ClickHouse: the hour of which nothing arrived, once more", "repair.sql")
run_jobs()
clickhouse("ClickHouse: what is still lost", "lost.sql")
database.close()
