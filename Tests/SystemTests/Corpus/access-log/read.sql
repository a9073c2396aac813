-- A log shipper's records: keys with dots and signs, objects in objects, numbers as texts.
SELECT (message->>'@timestamp')::TIMESTAMP AS requested_at,
    message->>'remote_addr' AS remote_addr,
    message->'request'->>'method' AS method,
    message->'request'->>'uri' AS uri,
    message->'request'->'headers'->>'user-agent' AS user_agent,
    message->'request'->'headers'->>'x-forwarded-for' AS forwarded_for,
    (message->>'status')::INTEGER AS status,
    (message->>'body_bytes_sent')::BIGINT AS body_bytes_sent,
    (message->>'request_time')::DOUBLE AS request_time,
    message->>'upstream.addr' AS upstream,
    message->'tags'->>0 AS first_tag,
    replace((message->'tags')::VARCHAR, ',', ', ') AS tags
FROM read_ndjson_objects('VALUES') AS t(message)
