"""ClickHouse as services use it: rows go into a MergeTree, a materialized view sends them on to a
Kafka-engine table, that to a topic.

Usage: clickhouse.py FOLDER BROKER TOPIC FORMAT ROWS. Row n is
(n % 23, n % 997, 'say "n", é', n % 5 = 0 ? NULL : n / 10).
"""

import sys

from chdb import session

folder, broker, topic, kind, rows = sys.argv[1:]
database = session.Session(folder)
columns = (
    "api_id Int32, time_taken Int32, note String, cost Nullable(Decimal(9, 2)), "
    "at DateTime64(3, 'UTC')"
)
database.query("CREATE DATABASE m ENGINE = Atomic")
database.query(f"CREATE TABLE m.calls ({columns}) ENGINE = MergeTree ORDER BY api_id")
database.query(
    f"CREATE TABLE m.topic ({columns}) ENGINE = Kafka SETTINGS kafka_broker_list = '{broker}', "
    f"kafka_topic_list = '{topic}', "
    f"kafka_group_name = 'g', kafka_format = '{kind}'"
)
database.query("CREATE MATERIALIZED VIEW m.forward TO m.topic AS SELECT * FROM m.calls")
database.query(f"""
    INSERT INTO m.calls
    SELECT number % 23, number % 997, concat('say "', toString(number), '", é'),
           if(number % 5 = 0, NULL, toDecimal64(number, 2) / 10),
           toDateTime64('2026-11-23 10:00:00.000', 3, 'UTC') + number
    FROM numbers({rows})""")
