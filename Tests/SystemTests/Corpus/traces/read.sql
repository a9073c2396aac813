-- Numbers beyond 2^63 without quotes, what stands in keys and headers, and tombstones.
SELECT (value->>'span_id')::UBIGINT AS span_id, (value->>'parent_id')::UBIGINT AS parent_id,
    (value->>'nanoseconds')::BIGINT AS nanoseconds, headers[-1]->>'value' AS trace,
    ("key"->>'tenant')::UBIGINT AS tenant, "key"->>'region' AS region
FROM (SELECT "key"::JSON AS "key", value::JSON AS value, headers
    FROM read_json('MESSAGES', format = 'newline_delimited', columns = {
        "key": 'VARCHAR', value: 'VARCHAR', headers: 'JSON[]'})
    WHERE value IS NOT NULL)
