"""Holds each row of the table in docs/evolve.md, "What NULL means where", against duckdb's own
computation over the raw records, and against pyarrow's reading of the objects.

Usage: evolve.py FOLDER; FOLDER holds `objects` by their keys, `rows` (those of the row job) and
`records.jsonl`, as kafka_tool.py dumps a topic of one partition. Standard input is JSON:
{"changes": [OFFSET, OFFSET], "backfilled": [[FROM, TO, DEFINITION], ...]}. Prints the rows of the
table that were held against something, as JSON.
"""

import glob
import json
import sys

import duckdb
import pyarrow.parquet as pq

folder = sys.argv[1]
facts = json.load(sys.stdin)
changes = facts["changes"]
cases = " ".join(
    f'WHEN "offset" >= {start} AND "offset" < {end} THEN {definition}'
    for start, end, definition in facts["backfilled"]
)
definition = f"""CASE {cases} WHEN "offset" < {changes[0]} THEN 1
    WHEN "offset" < {changes[1]} THEN 2 ELSE 3 END"""

database = duckdb.connect()
database.execute(f"""
    CREATE TABLE records AS
    SELECT "offset", timestamp // 300000 * 300000 AS window_start, {definition} AS definition,
           (value::JSON ->> '$.api_id')::BIGINT AS api_id,
           (value::JSON ->> '$.ms')::BIGINT AS ms,
           value::JSON ->> '$.region' AS region
    FROM read_json('{folder}/records.jsonl', format = 'newline_delimited',
                   columns = {{partition: 'BIGINT', "offset": 'BIGINT', timestamp: 'BIGINT',
                             value: 'VARCHAR'}})""")
# A window began in the definition under which its first record was counted.
database.execute("""
    CREATE TABLE expected AS
    WITH began AS (
        SELECT window_start, min(definition) AS began FROM records GROUP BY ALL),
    groups AS (
        SELECT window_start, began, api_id, count(*) AS calls,
               CASE WHEN began >= 3 THEN max(ms) END AS longest,
               CASE WHEN began >= 2 THEN sum(ms)::BIGINT END AS total,
               CASE WHEN began >= 2 THEN min(region) END AS first_region,
               CASE WHEN began >= 2 THEN count(region) END AS regions
        FROM records JOIN began USING (window_start)
        GROUP BY window_start, began, api_id)
    SELECT window_start, api_id, calls, longest, total, first_region, regions,
           100.0 * total / sum(total) OVER w AS share,
           rank() OVER (PARTITION BY window_start ORDER BY total) AS place
    FROM groups WINDOW w AS (PARTITION BY window_start)""")
paths = glob.glob(f"{folder}/objects/*/part-0.parquet")
database.execute(f"""
    CREATE TABLE actual AS
    SELECT * REPLACE (epoch_ms(strptime(window_start, '%Y-%m-%dT%H-%M-%SZ')) AS window_start)
    FROM read_parquet('{folder}/objects/*/part-0.parquet', hive_partitioning = true,
                      hive_types = {{'window_start': VARCHAR}})""")

columns = "window_start, api_id, calls, longest, total, first_region, regions, share, place"
for one, other in (("expected", "actual"), ("actual", "expected")):
    differences = database.execute(
        f"SELECT {columns} FROM {one} EXCEPT ALL SELECT {columns} FROM {other}"
    ).fetchall()
    assert not differences, (one, differences)

held = []


def hold(row, sql, expected=True):
    """What the table says of rows of the actual results; of some, so that it says something."""
    count, agree = database.execute(f"""
        WITH began AS (SELECT window_start, min(definition) AS began FROM records GROUP BY ALL),
        seen AS (SELECT window_start, api_id, min(definition) AS seen FROM records GROUP BY ALL),
        backfilled AS (SELECT window_start, count(*) AS backfilled FROM records
                       WHERE {facts["isBackfilled"]} GROUP BY ALL)
        SELECT count(*), count(*) FILTER (agrees) FROM (
            SELECT {sql[0]} AS agrees FROM actual JOIN began USING (window_start)
            JOIN seen USING (window_start, api_id) LEFT JOIN backfilled USING (window_start)
            WHERE {sql[1]})""").fetchone()
    assert count > 0 and count == agree, (row, count, agree)
    held.append(row)


is_null = "total IS NULL AND first_region IS NULL AND regions IS NULL"
is_whole = "total IS NOT NULL AND regions IS NOT NULL AND share IS NOT NULL"
hold("groups of a window that began before the change", (is_null, "began = 1 AND seen = 1"))
hold("groups that are new in such a window", (is_null, "began = 1 AND seen > 1"))
hold(
    "a backfill into such a window",
    (is_null + " AND calls > 0", "began = 1 AND backfilled > 0"),
)
hold("a window that begins after the change", (is_whole, "began >= 2 AND backfilled IS NULL"))
hold(
    "a window whose first record a backfill brings after the change",
    (is_whole, "began = 2 AND backfilled > 0"),
)
hold(
    "records without the added field, in a window that begins after the change",
    ("first_region IS NULL AND regions = 0 AND total IS NOT NULL", "began >= 2 AND api_id = 9"),
)
hold("shares and ranks computed of a NULL measure", ("share IS NULL AND place = 1", "began = 1"))
hold(
    "a measure that means something else under its name",
    ("(longest IS NULL) = (began < 3)", "true"),
)
assert "retired" not in [c[0] for c in database.execute("DESCRIBE actual").fetchall()]
held.append("a removed measure")
schemas = [pq.ParquetFile(path).schema_arrow for path in paths]
shapes = {tuple((field.name, field.type, field.nullable) for field in s) for s in schemas}
assert len(schemas) > 3 and len(shapes) == 1, shapes
optional = {field.name: field.nullable for field in schemas[0]}
late = ("longest", "total", "first_region", "regions", "share", "place")
assert optional == {"api_id": False, "calls": False} | {name: True for name in late}, optional
held.append("the column in Parquet")

rows = sorted(glob.glob(f"{folder}/rows/*/part-0.parquet"))
fields = [{f.name: f.nullable for f in pq.ParquetFile(path).schema_arrow} for path in rows]
assert fields == [
    {"api_id": False, "ms": False},
    {"api_id": False, "ms": False, "code": True},
], fields
found = database.execute(f"""
    SELECT api_id, ms, code FROM read_parquet('{folder}/rows/*/part-0.parquet',
        union_by_name = true, hive_partitioning = false) ORDER BY ALL""").fetchall()
assert found == [(1, 10, None), (2, 20, 7)], found
held.append("a field added to a row job")
print(json.dumps(held))
