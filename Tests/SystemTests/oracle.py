"""Computes the main job's result with duckdb, from the topics as another client reads them, and
compares the objects with it.

Usage: oracle.py FOLDER WINDOW_MILLISECONDS BROKER:TOPIC ...; FOLDER holds the objects by key. Sums
and counts must be equal, percentages and ranks within 1e-9, and each window's percentages must add
up to 100.
"""

import glob
import os
import subprocess
import sys

import duckdb

folder, width, sources = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
tool = os.path.join(os.path.dirname(__file__), "..", "Stack", "kafka_tool.py")
records = os.path.join(folder, "records.jsonl")
with open(records, "w") as file:
    for source in sources:
        broker, topic = source.rsplit(":", 1)
        subprocess.run(
            [sys.executable, tool, broker],
            input=f'{{"op": "dump", "topic": "{topic}"}}',
            text=True,
            stdout=file,
            check=True,
        )

database = duckdb.connect()
database.execute(f"""
    CREATE TABLE expected AS
    WITH calls AS (
        SELECT split_part(trim(value, chr(10)), ',', 1)::BIGINT AS api_id,
               split_part(trim(value, chr(10)), ',', 2)::BIGINT AS time_taken,
               timestamp // {width} * {width} AS window_start
        FROM read_json('{records}', format = 'newline_delimited',
                       columns = {{partition: 'BIGINT', "offset": 'BIGINT',
                                   timestamp: 'BIGINT', value: 'VARCHAR'}})),
    groups AS (
        SELECT window_start, api_id, count(*) AS calls, sum(time_taken)::BIGINT AS time_taken
        FROM calls GROUP BY ALL)
    SELECT *, 100.0 * time_taken / sum(time_taken) OVER w AS percentage_time,
           percent_rank() OVER (PARTITION BY window_start ORDER BY time_taken) AS percent_rank
    FROM groups WINDOW w AS (PARTITION BY window_start)""")
hive = "hive_partitioning = true, hive_types = {'window_start': VARCHAR}"
if glob.glob(f"{folder}/*/part-0.parquet"):
    objects = f"read_parquet('{folder}/*/part-0.parquet', {hive})"
else:
    objects = f"""read_csv('{folder}/*/part-0.csv', header = true, {hive},
        columns = {{api_id: 'BIGINT', calls: 'BIGINT', time_taken: 'BIGINT',
                  percentage_time: 'DOUBLE', percent_rank: 'DOUBLE'}})"""
database.execute(f"""
    CREATE TABLE actual AS
    SELECT * REPLACE (epoch_ms(strptime(window_start, '%Y-%m-%dT%H-%M-%SZ')) AS window_start)
    FROM {objects}""")

expected, actual = (
    database.execute(f"SELECT count(*), count(DISTINCT window_start) FROM {name}").fetchone()
    for name in ("expected", "actual")
)
if expected != actual or expected[0] == 0:
    sys.exit(f"groups and windows: expected {expected}, found {actual}")
wrong = database.execute("""
    SELECT * FROM expected e FULL JOIN actual a USING (window_start, api_id)
    WHERE e.calls IS DISTINCT FROM a.calls OR e.time_taken IS DISTINCT FROM a.time_taken
       OR abs(e.percentage_time - a.percentage_time) > 1e-9
       OR abs(e.percent_rank - a.percent_rank) > 1e-9""").fetchall()
if wrong:
    sys.exit(f"{len(wrong)} groups differ, for example {wrong[0]}")
off = database.execute(
    "SELECT window_start, sum(percentage_time) AS s FROM actual GROUP BY 1 HAVING abs(s - 100) > "
    "1e-6"
).fetchall()
if off:
    sys.exit(f"percentages do not add up to 100: {off}")
print(f"{expected[0]} groups in {expected[1]} windows agree")
