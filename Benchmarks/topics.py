"""Fills a topic. Timestamps rise by a millisecond per record, over all partitions.

Usage:
       topics.py BROKER calls TOPIC PARTITIONS COUNT csv|json    COUNT calls of 200 APIs
       topics.py BROKER groups TOPIC PARTITIONS COUNT            each of COUNT ids once, shuffled
       topics.py BROKER events TOPIC PARTITIONS COUNT FIELDS ordered|shuffled
                                                                 COUNT calls as JSON objects of
                                                                 FIELDS fields
       topics.py BROKER touches TOPIC PARTITIONS COUNT BATCHES   appends 1,000 records a batch, of
                                                                 200 ids chosen out of COUNT
"""

import json
import random
import sys

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic


def calls(numbers, count, format):
    row = b"%d,%d\n" if format == "csv" else b'{"api_id":%d,"time_taken":%d}\n'
    for _ in range(count):
        yield row % (int(numbers.paretovariate(1.2)) % 200 + 1, int(numbers.lognormvariate(4, 1)))


def events(numbers, count, fields, order):
    """Calls as a service logs them: four fields that a job wants, the call once more as an object,
    and others of every type. In each record in the same order, or in another."""
    for _ in range(count):
        api_id = int(numbers.paretovariate(1.2)) % 200 + 1
        time_taken = int(numbers.lognormvariate(4, 1))
        event = {
            "api_id": api_id,
            "call": {"api_id": api_id, "time_taken": time_taken, "is_retried": False},
            "time_taken": time_taken,
            "bytes_sent": numbers.randrange(1_000_000),
            "duration": round(numbers.random(), 6),
        }
        for index in range(len(event), fields):
            event[f"attribute_{index}"] = (
                f"value {numbers.randrange(1_000_000)} of a service",
                numbers.randrange(1_000_000_000),
                round(numbers.random() * 1000, 3),
                None,
                {"id": numbers.randrange(1000), "tags": ["a", "b"]},
                index % 2 == 0,
            )[index % 6]
        if order == "shuffled":
            names = list(event)
            numbers.shuffle(names)
            event = {name: event[name] for name in names}
        yield json.dumps(event, separators=(",", ":")).encode()


def groups(numbers, count):
    ids = list(range(1, count + 1))
    numbers.shuffle(ids)
    return (b"%d,1\n" % number for number in ids)


def touches(numbers, count, batches):
    for _ in range(batches):
        chosen = numbers.sample(range(1, count + 1), 200)
        for index in range(1000):
            yield b"%d,1\n" % chosen[index % 200]


def create(broker, topic, partitions):
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(30)


def send(broker, topic, partitions, rows, count):
    producer = Producer(
        {"bootstrap.servers": broker, "linger.ms": 50, "queue.buffering.max.messages": 1000000}
    )
    for index, row in enumerate(rows):
        # Tansu knows the end of a partition when its last record came alone.
        if index >= count - partitions:
            flush(producer)
        while True:
            try:
                producer.produce(
                    topic, row, partition=index % partitions, timestamp=1795428000000 + index
                )
                break
            except BufferError:
                producer.poll(0.1)
    flush(producer)


def flush(producer):
    if producer.flush(120):
        sys.exit("the records were not delivered")


def main(broker, kind, topic, partitions, count, *more):
    partitions, count, numbers = int(partitions), int(count), random.Random(7)
    if kind != "touches":
        create(broker, topic, partitions)
    match kind:
        case "calls":
            send(broker, topic, partitions, calls(numbers, count, more[0]), count)
        case "events":
            send(broker, topic, partitions, events(numbers, count, int(more[0]), more[1]), count)
        case "groups":
            send(broker, topic, partitions, groups(numbers, count), count)
        case "touches":
            batches = int(more[0])
            send(broker, topic, partitions, touches(numbers, count, batches), batches * 1000)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
