"""Judges what was read of CSV messages, by Python's csv module.

Usage: csv_records.py NAME...    the fields that were read

Each line of standard input is a message in hexadecimal, the number of its delimiter, that of its
quote or "none", "per_message" or "none" for its header, then its rows: each field's text in
hexadecimal behind "=". Prints the lines that are wrong, then how many rows were right.
"""

import csv
import io
import sys

NAMES = sys.argv[1:]

right = 0
for line in sys.stdin:
    message, delimiter, quote, header, *rows = line.rstrip("\n").split(" ")
    quoting = {"quoting": csv.QUOTE_NONE} if quote == "none" else {"quotechar": chr(int(quote))}
    text = io.StringIO(bytes.fromhex(message).decode(), newline="")
    records = list(csv.reader(text, delimiter=chr(int(delimiter)), doublequote=True, **quoting))
    columns = records.pop(0) if header == "per_message" else NAMES
    expected = [[record[columns.index(name)] for name in NAMES] for record in records]
    read = [[bytes.fromhex(text[1:]).decode() for text in row.split(",")] for row in rows]
    if read == expected:
        right += len(read)
    else:
        print(message, read, expected)
print(right)
