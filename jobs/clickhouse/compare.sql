-- ClickHouse's own answer, computed from the source table.
CREATE OR REPLACE VIEW services.expected AS
SELECT
    format, window, api_id, calls, time_taken,
    100.0 * time_taken / sum(time_taken) OVER (PARTITION BY format, window) AS percentage_time,
    percent_rank() OVER (PARTITION BY format, window ORDER BY time_taken) AS percent_rank
FROM
(
    SELECT
        toStartOfInterval(time, INTERVAL 5 MINUTE) AS window, api_id,
        count() AS calls, sum(time_taken) AS time_taken
    FROM services.API
    WHERE service_id = 1
    GROUP BY window, api_id
)
ARRAY JOIN ['csv', 'json'] AS format;

-- A few rows of a window, side by side.
SELECT
    format, api_id, expected.percentage_time AS clickhouse, shares.percentage_time AS tranche,
    shares.percent_rank AS percent_rank
FROM services.expected AS expected
JOIN services.shares AS shares USING (format, window, api_id)
WHERE window = toDateTime('2026-11-23 12:55:00', 'UTC') AND api_id <= 3
ORDER BY ALL;

-- Every group of every window, of both jobs.
SELECT
    format, uniqExact(window) AS windows, count() AS groups,
    countIf(shares.calls IS NULL) AS missing, countIf(expected.calls IS NULL) AS extra,
    countIf((shares.calls, shares.time_taken) != (expected.calls, expected.time_taken))
        AS different,
    max(abs(shares.percentage_time - expected.percentage_time)) AS percentage_off_by,
    max(abs(shares.percent_rank - expected.percent_rank)) AS rank_off_by
FROM services.expected AS expected
FULL JOIN services.shares AS shares USING (format, window, api_id)
GROUP BY format
ORDER BY format
SETTINGS join_use_nulls = 1;
