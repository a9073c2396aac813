"""Says for each line of standard input, a text in hexadecimal, whether Python's parser takes it for
one JSON object: 1 or 0 a line."""

import json
import sys


def refuse(name):
    raise ValueError(name)  # NaN and Infinity, which Python takes and RFC 8259 does not


for line in sys.stdin:
    try:
        print(
            int(
                isinstance(
                    json.loads(bytes.fromhex(line).decode("utf-8-sig"), parse_constant=refuse), dict
                )
            )
        )
    except ValueError:
        print(0)
