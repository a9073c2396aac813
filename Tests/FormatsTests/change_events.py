"""What a connector's messages hold, by Python's parser.

Usage: change_events.py CORPUS make     prints messages of the corpus, each in several spellings
       change_events.py CORPUS judge    judges what was read of them

The corpus has a JSON object a line: what it is, the envelope, and a message's key and value as a
connector writes them. A line that is made holds the envelope and a message in hexadecimal. A line
to be judged holds the same and then a record a word, separated by commas: of each field in FIELDS
the text in hexadecimal behind "=", or "-" for NULL; "x" for a record that was rejected. Prints what
is wrong, then how many records were read and rejected.
"""

import json
import random
import sys

# A path is relative to the change event; without one a field is the row's.
FIELDS = {
    "debezium": {
        "id": None,
        "customer": None,
        "status": None,
        "amount": None,
        "old_status": ["before", "status"],
        "new_status": ["after", "status"],
        "op": ["op"],
        "at": ["source", "ts_ms"],
        "table": ["source", "table"],
        "transaction": ["transaction", "id"],
        "row": ["after"],
    },
    "connect": {"id": None, "status": None, "city": ["at", "place", "city"], "tag": ["tags", 1]},
}


def unwrapped(value):
    schema = value.get("schema", "")
    if "payload" in value and (schema is None or isinstance(schema, (dict, list))):
        return value["payload"]
    return value


def at(value, path):
    for step in path:
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and step < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def expected(envelope, value):
    """The fields, or None for a reject."""
    event = unwrapped(value)
    if not isinstance(event, dict):
        return None
    row = event
    if envelope == "debezium":
        if not isinstance(event.get("op"), str):
            return None
        row = event["before" if event["op"] == "d" else "after"] if event["op"] != "m" else None
    fields = FIELDS[envelope].items()
    return [at(row, [name]) if path is None else at(event, path) for name, path in fields]


def shuffled(value, numbers):
    if isinstance(value, list):
        return [shuffled(element, numbers) for element in value]
    if not isinstance(value, dict):
        return value
    members = list(value.items())
    numbers.shuffle(members)
    return {name: shuffled(member, numbers) for name, member in members}


def spellings(value, numbers):
    yield json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    yield json.dumps(value, indent=2)
    for _ in range(4):
        yield json.dumps(shuffled(value, numbers), ensure_ascii=False)
    yield json.dumps(value).replace('"op"', r'"\u006fp"').replace('"d"', r'"\u0064"')
    yield json.dumps([value, shuffled(value, numbers)]) + "\n" + json.dumps(value)


def make(corpus):
    numbers = random.Random(17)
    for line in corpus:
        entry = json.loads(line)
        for text in spellings(entry["value"], numbers):
            print(entry["envelope"], text.encode().hex())


def records(text):
    decoder, position = json.JSONDecoder(), 0
    while text[position:].strip():
        position += len(text[position:]) - len(text[position:].lstrip())
        value, position = decoder.raw_decode(text, position)
        yield from value if isinstance(value, list) else [value]


def is_right(text, value):
    if text == "-" or value is None:
        return text == "-" and value is None
    text = bytes.fromhex(text[1:]).decode()
    return text == value if isinstance(value, str) else json.loads(text) == value


def judge():
    counts = {"read": 0, "rejected": 0}
    for line in sys.stdin:
        envelope, message, *read = line.split()
        theirs = [expected(envelope, value) for value in records(bytes.fromhex(message).decode())]
        # Rejects come behind what was read.
        right = [row for row in theirs if row is not None]
        ours = [row.split(",") for row in read if row != "x"]
        if (len(read), len(ours)) != (len(theirs), len(right)) or not all(
            len(row) == len(values) and all(map(is_right, row, values))
            for row, values in zip(ours, right)
        ):
            print(bytes.fromhex(message).decode(), read, theirs)
        counts["read"] += len(ours)
        counts["rejected"] += len(read) - len(ours)
    print(counts["read"], counts["rejected"])


with open(sys.argv[1], encoding="utf-8") as file:
    make(file) if sys.argv[2] == "make" else judge()
