"""Does to a broker what the tests need and Tranche never does. Usage: kafka_tool.py BROKER, with
one JSON operation a line on standard input.

{"op": "create", "topic": T, "partitions": N}        {"op": "grow", "topic": T, "partitions": N}
{"op": "produce", "topic": T, "partition": P, "value": TEXT or null, "hex": BYTES,
 "key": TEXT, "key_hex": BYTES, "timestamp": MILLISECONDS,
 "headers": {NAME: TEXT or null} or [[NAME, TEXT or null], ...]}
{"op": "samples", "topic": T, "partitions": N, "count": C, "seed": S,
 "from": MILLISECONDS, "span": MILLISECONDS}
{"op": "begin"}, {"op": "commit"}, {"op": "abort"}, {"op": "leave_open"}: a transaction around what
 is produced between
{"op": "produce_damaged", "topic": T, "partition": P, "count": N}: a batch that
 claims to be compressed and is not
{"op": "delete_records", "topic": T, "partition": P, "before": OFFSET}
{"op": "delete_topic", "topic": T}
{"op": "lag", "group": G, "topic": T}: prints what an ordinary client sees of a group, a JSON line a
 partition: what is committed, the end, the lag
{"op": "commit_to", "group": G, "topic": T, "partition": P, "offset": O}: as another's consumer
{"op": "as_member", "group": G, "topic": T, "command": [WORD, ...], "folder": F}: runs a command
 while a consumer takes part in the group; prints its exit code, output and errors as a JSON line
{"op": "dump", "topic": T}: prints every record as a JSON line, read without Tranche
"""

import json
import random
import socket
import struct
import subprocess
import sys
import time
import uuid

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic, OffsetSpec

broker = sys.argv[1]
admin = AdminClient({"bootstrap.servers": broker})
plain = Producer({"bootstrap.servers": broker, "linger.ms": 5})
producer = plain


def done(futures):
    for future in futures.values():
        future.result(30)


def delivered(error, message):
    if error is not None:
        sys.exit(f"{message.topic()}[{message.partition()}]: not delivered: {error}")


def send(topic, **message):
    while True:
        try:
            return producer.produce(topic, on_delivery=delivered, **message)
        except BufferError:
            producer.poll(0.1)
        except KafkaException as error:
            # A partition that was just added reaches the client with its next metadata.
            if error.args[0].code() != KafkaError._UNKNOWN_PARTITION:
                raise
            producer.list_topics(topic, timeout=20)
            producer.poll(0.1)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def produce_damaged(topic, partition, count):
    """One record batch (magic 2) whose attributes say gzip and whose records are none, by a Produce
    request of version 3."""
    metadata = admin.list_topics(topic, timeout=20)
    leader = metadata.brokers[metadata.topics[topic].partitions[partition].leader]
    body = (
        struct.pack(">hiqqqhii", 1, count - 1, 1795428000000, 1795428000000, -1, -1, -1, count)
        + b"this is no gzip stream"
    )
    batch = struct.pack(">ibI", 0, 2, crc32c(body)) + body
    records = struct.pack(">qi", 0, len(batch)) + batch
    name = topic.encode()
    request = struct.pack(">hhih", 0, 3, 1, -1) + struct.pack(">hhii", -1, 1, 10000, 1)
    request += (
        struct.pack(">h", len(name))
        + name
        + struct.pack(">iii", 1, partition, len(records))
        + records
    )
    with socket.create_connection((leader.host, leader.port), 20) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        answer = connection.recv(4096)
    error = struct.unpack(">h", answer[4 + 4 + 4 + 2 + len(name) + 4 + 4 :][:2])[0]
    if error != 0:
        sys.exit(f"{topic}[{partition}]: the damaged batch was refused with error {error}")


def dump(topic):
    consumer = Consumer(
        {
            "bootstrap.servers": broker,
            "group.id": "oracle",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    partitions = consumer.list_topics(topic, timeout=20).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    ended = set()
    while len(ended) < len(partitions):
        message = consumer.poll(20)
        if message is None:
            sys.exit("no message in 20 seconds")
        if message.error():
            ended.add(message.partition())
            continue
        value = message.value()
        print(
            json.dumps(
                {
                    "partition": message.partition(),
                    "offset": message.offset(),
                    "timestamp": message.timestamp()[1],
                    "value": None if value is None else value.decode("utf-8", "replace"),
                }
            )
        )
    consumer.close()


def lag(group, topic):
    wanted = [ConsumerGroupTopicPartitions(group)]
    (answer,) = admin.list_consumer_group_offsets(wanted).values()
    committed = [item for item in answer.result(20).topic_partitions if item.topic == topic]
    ends = admin.list_offsets(
        {TopicPartition(topic, item.partition): OffsetSpec.latest() for item in committed}
    )
    ends = {place.partition: future.result(20).offset for place, future in ends.items()}
    for item in sorted(committed, key=lambda item: item.partition):
        end = ends[item.partition]
        print(
            json.dumps(
                {
                    "partition": item.partition,
                    "committed": item.offset,
                    "end": end,
                    "lag": end - item.offset,
                }
            )
        )


def consumer_of(group):
    return Consumer(
        {"bootstrap.servers": broker, "group.id": group, "enable.auto.commit": False}
    )


def as_member(group, topic, command, folder):
    consumer = consumer_of(group)
    consumer.subscribe([topic])
    deadline = time.monotonic() + 30
    while not consumer.assignment():
        consumer.poll(0.1)
        if time.monotonic() > deadline:
            sys.exit(f"no partition of {topic} in 30 seconds")
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    consumer.close()
    print(
        json.dumps(
            {"exit_code": result.returncode, "output": result.stdout, "errors": result.stderr}
        )
    )


for line in sys.stdin:
    if not line.strip():
        continue
    operation = json.loads(line)
    kind, topic = operation["op"], operation.get("topic")
    if kind == "create":
        # Records bear times of their own, which the broker's default retention would take for old.
        done(
            admin.create_topics(
                [
                    NewTopic(
                        topic,
                        operation["partitions"],
                        1,
                        config={"retention.ms": "1000000000000000"},
                    )
                ]
            )
        )
    elif kind == "grow":
        done(admin.create_partitions([NewPartitions(topic, operation["partitions"])]))
        # What is sent to a new partition before the brokers tell of it is not delivered.
        while (
            len(plain.list_topics(topic, timeout=20).topics[topic].partitions)
            < operation["partitions"]
        ):
            time.sleep(0.01)
    elif kind == "delete_topic":
        done(admin.delete_topics([topic]))
    elif kind == "delete_records":
        plain.flush(30)
        done(
            admin.delete_records(
                [TopicPartition(topic, operation["partition"], operation["before"])]
            )
        )
    elif kind == "produce":
        value = bytes.fromhex(operation["hex"]) if "hex" in operation else operation.get("value")
        optional = ("key", "timestamp", "headers")
        extra = {name: operation[name] for name in optional if name in operation}
        if "key_hex" in operation:
            extra["key"] = bytes.fromhex(operation["key_hex"])
        if isinstance(extra.get("headers"), list):
            extra["headers"] = [tuple(header) for header in extra["headers"]]
        send(topic, partition=operation["partition"], value=value, **extra)
    elif kind == "produce_damaged":
        plain.flush(30)
        produce_damaged(topic, operation["partition"], operation["count"])
    elif kind == "samples":
        numbers = random.Random(operation["seed"])
        for _ in range(operation["count"]):
            row = (
                f"{int(numbers.paretovariate(1.2)) % 200 + 1},{int(numbers.lognormvariate(4, 1))}\n"
            )
            send(
                topic,
                partition=numbers.randrange(operation["partitions"]),
                value=row,
                timestamp=operation["from"] + numbers.randrange(operation["span"]),
            )
    elif kind == "begin":
        plain.flush(30)
        producer = Producer({"bootstrap.servers": broker, "transactional.id": str(uuid.uuid4())})
        producer.init_transactions(30)
        producer.begin_transaction()
    elif kind in ("commit", "abort"):
        producer.flush(30)
        (producer.commit_transaction if kind == "commit" else producer.abort_transaction)(30)
        producer = plain
    elif kind == "leave_open":
        producer.flush(30)
        producer = plain
    elif kind == "lag":
        lag(operation["group"], topic)
    elif kind == "commit_to":
        place = TopicPartition(topic, operation["partition"], operation["offset"])
        consumer = consumer_of(operation["group"])
        consumer.commit(offsets=[place], asynchronous=False)
        consumer.close()
    elif kind == "as_member":
        as_member(operation["group"], topic, operation["command"], operation["folder"])
    elif kind == "dump":
        dump(topic)
    else:
        sys.exit(f"no operation {kind}")
if plain.flush(60):
    sys.exit("messages were not delivered")
