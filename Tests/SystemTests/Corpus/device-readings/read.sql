-- Lines of JSON, several a message: exponents, the largest integers, text beyond ASCII.
SELECT device, reading, count, epoch_ms(measured_at * 1000) AS measured_at, ok
FROM read_json('VALUES', format = 'newline_delimited', columns = {
    device: 'VARCHAR', reading: 'DOUBLE', count: 'BIGINT', measured_at: 'BIGINT', ok: 'BOOLEAN'})
