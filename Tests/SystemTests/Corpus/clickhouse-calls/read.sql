-- As ClickHouse's Kafka engine writes CSV: text in quotes, NULL as \N without.
SELECT api_id, path, called_at, user_id, seconds, is_cached, price
FROM read_csv('VALUES', header = false, quote = '"', escape = '"', nullstr = '\N',
    allow_quoted_nulls = false, columns = {
        api_id: 'INTEGER', path: 'VARCHAR', called_at: 'TIMESTAMP', user_id: 'BIGINT',
        seconds: 'DOUBLE', is_cached: 'BOOLEAN', price: 'DECIMAL(10,2)'})
