-- What has been lost between ClickHouse and the results, or pushed twice (a negative number)?
SELECT
    format, hour, sum(in_clickhouse) AS clickhouse, sum(in_tranche) AS tranche,
    clickhouse - tranche AS lost
FROM
(
    SELECT
        format, toStartOfHour(time) AS hour,
        toInt64(1) AS in_clickhouse, toInt64(0) AS in_tranche
    FROM services.API ARRAY JOIN ['csv', 'json'] AS format
    WHERE service_id = 1
    UNION ALL
    SELECT format, toStartOfHour(window), 0, calls
    FROM services.shares
)
GROUP BY format, hour
ORDER BY format, hour;
