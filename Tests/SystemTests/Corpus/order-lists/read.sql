-- A list of records in each message, some written over many lines.
SELECT (message->>'order_id')::BIGINT AS order_id, (message->'customer'->>'id')::INTEGER AS customer_id,
    message->'customer'->>'name' AS customer_name, (message->>'total')::DECIMAL(12,2) AS total,
    message->'lines'->0->>'sku' AS first_sku,
    (message->'lines'->1->>'quantity')::INTEGER AS second_quantity
FROM (SELECT unnest(from_json(list, '["JSON"]')) AS message
    FROM read_json_objects('VALUES', format = 'unstructured') AS t(list))
