"""Judges what was read of JSON messages, by Python's parser.

Usage: json_records.py PATHS    a JSON list of paths, each a list of keys and positions

Each line of standard input is a message in hexadecimal, then its rows: of each path the text that
was read, in hexadecimal behind "=", or "-" for NULL. Prints the lines that are wrong, then how many
rows were right.
"""

import json
import sys

PATHS = json.loads(sys.argv[1])


def records(message):
    """One JSON value behind another; the elements of an array are records."""
    decoder, position = json.JSONDecoder(), 0
    while message[position:].strip():
        position += len(message[position:]) - len(message[position:].lstrip())
        value, position = decoder.raw_decode(message, position)
        yield from value if isinstance(value, list) else [value]


def at(value, path):
    for step in path:
        if not isinstance(value, dict if isinstance(step, str) else list):
            return None
        if isinstance(step, int) and step >= len(value):
            return None
        value = value.get(step) if isinstance(step, str) else value[step]
    return value


def is_right(text, value, is_text):
    if text is None or value is None:
        return text is None and value is None
    return text == value if isinstance(value, str) and is_text else json.loads(text) == value


right = 0
for line in sys.stdin:
    message, *rows = line.split()
    message = bytes.fromhex(message).decode()
    expected = [[at(record, path) for path in PATHS] for record in records(message)]
    read = [
        [None if text == "-" else bytes.fromhex(text[1:]).decode() for text in row.split(",")]
        for row in rows
    ]
    # Every path is read twice: as a text, and as JSON text.
    doubled = [[value for value in row for _ in range(2)] for row in expected]
    if len(read) == len(doubled) and all(
        is_right(text, value, place % 2 == 0)
        for ours, theirs in zip(read, doubled)
        for place, (text, value) in enumerate(zip(ours, theirs))
    ):
        right += len(read)
    else:
        print(message, read, doubled)
print(right)
