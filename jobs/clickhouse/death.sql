-- What a ClickHouse that dies between insert and push leaves behind: rows in the table that no view
-- has seen. They lie half in an hour that has arrived, half in the next one.
DETACH TABLE services.push_csv;
DETACH TABLE services.push_json;

INSERT INTO services.API
SELECT
    1 + intHash32(number) % 20,
    toDateTime64('2026-11-23 12:30:00', 3, 'UTC') + INTERVAL number * 360 MILLISECOND,
    intHash32(number + 1000000) % 500,
    1
FROM numbers(10000);

ATTACH TABLE services.push_csv;
ATTACH TABLE services.push_json;
