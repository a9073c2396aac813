-- Debezium's change events, some with the schema that Kafka Connect's converter adds.
SELECT (line->>'id')::BIGINT AS id, line->>'customer' AS customer, line->>'status' AS status,
    (line->>'amount')::DECIMAL(12,2) AS amount,
    epoch_ms((line->>'updated_at')::BIGINT // 1000) AS updated_at, event->>'op' AS op,
    event->'before'->>'status' AS status_before,
    epoch_ms((event->'source'->>'ts_ms')::BIGINT) AS changed_at,
    event->'source'->>'connector' AS connector, event->'transaction'->>'id' AS transaction
FROM (SELECT event,
        CASE (event->>'op') WHEN 'd' THEN event->'before' ELSE event->'after' END AS line
    FROM (SELECT CASE WHEN (message->'schema') IS NULL THEN message
                ELSE message->'payload' END AS event
        FROM read_ndjson_objects('VALUES') AS t(message)))
