"""Reads a corpus of messages with Tranche and with duckdb, and compares the records.

Usage: corpus.py TRANCHE FOLDER ...

A folder has a row job, FOLDER.yaml, its messages as `tranche test` takes them, and read.sql, which
reads the same from a file: VALUES, the messages' values each behind the other, or MESSAGES.
Prints how many records agree.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile

import duckdb


def compare(tranche, folder):
    name = os.path.basename(folder)
    with tempfile.TemporaryDirectory() as work:
        job, case = os.path.join(work, f"{name}.yaml"), os.path.join(work, f"{name}.test", "all")
        shutil.copy(os.path.join(folder, f"{name}.yaml"), job)
        os.makedirs(case)
        messages = shutil.copy(os.path.join(folder, "messages.jsonl"), case)
        update = [tranche, "test", "--update", job]
        subprocess.run(update, cwd=work, stdout=subprocess.PIPE, check=True)
        if os.path.exists(os.path.join(case, "rejects.csv")):
            sys.exit(f"{name}: records were rejected")

        values = os.path.join(work, "values")
        with open(messages) as lines, open(values, "w") as file:
            for line in lines:
                value = json.loads(line)["value"]
                if value is not None:
                    file.write(value if value.endswith("\n") else value + "\n")
        database = duckdb.connect()
        database.execute("SET TimeZone = 'UTC'")
        with open(os.path.join(folder, "read.sql")) as file:
            query = file.read().replace("VALUES", values).replace("MESSAGES", messages)
        database.execute(f"CREATE TABLE theirs AS {query}")
        columns = database.execute("DESCRIBE theirs").fetchall()
        types = ", ".join(f"\"{column[0]}\": '{column[1]}'" for column in columns)
        database.execute(f"""
            CREATE TABLE ours AS FROM read_csv('{case}/expected.csv', header = true, escape = '"',
                quote = '"', nullstr = '\\N', allow_quoted_nulls = false, columns = {{{types}}})""")
        for one, other in (("ours", "theirs"), ("theirs", "ours")):
            rows = database.execute(f"FROM {one} EXCEPT ALL FROM {other} LIMIT 3").fetchall()
            if rows:
                sys.exit(f"{name}: records of {one} that are not among {other}: {rows}")
        return database.execute("SELECT count(*) FROM ours").fetchone()[0]


tranche, *folders = sys.argv[1:]
print(sum(compare(os.path.abspath(tranche), folder.rstrip("/")) for folder in folders))
