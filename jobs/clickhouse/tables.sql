-- ClickHouse in front of Tranche: a table, and for each format a topic, a queue and a view.
-- The services insert into API. Each view sends the rows of service 1 on, to a topic of six
-- partitions. `make clickhouse` runs these files; docs/clickhouse.md shows what comes of them.

CREATE DATABASE services;

-- time_taken is a number of milliseconds. A DateTime could be neither summed nor divided.
CREATE TABLE services.API
(
    api_id     Int32 CODEC(DoubleDelta, LZ4),
    time       DateTime64(3, 'UTC'),
    time_taken Int32,
    service_id Int32
)
ENGINE = MergeTree PARTITION BY toYYYYMM(time) ORDER BY (service_id, time);

-- What is inserted into a Kafka table becomes messages, one for each row.
-- * The event's time goes along, so that windows are of the time of the call. It is written as text
--   in the column's time zone, and Tranche reads it as UTC: hence 'UTC'.
-- * The engine makes the column _key the message's key, so that the calls of one API stay in one
--   partition. Without it, the rows of an insert can all go to the same partition. The column is
--   in the value as well: the job declares it as its last field.
CREATE TABLE services.queue_csv
(
    api_id     Int32,
    time       DateTime64(3, 'UTC'),
    time_taken Int32,
    _key       String
)
ENGINE = Kafka SETTINGS
    kafka_broker_list = 'localhost:9092', kafka_topic_list = 'api_calls_csv',
    kafka_group_name = 'unused', kafka_format = 'CSV';

-- The same in JSON, and the time of the event by another way: the engine makes the column _timestamp
-- the message's own time, in whole seconds. The broker's retention then counts from the call, not
-- from the push.
CREATE TABLE services.queue_json
(
    api_id     Int32,
    time_taken Int32,
    _key       String,
    _timestamp DateTime('UTC')
)
ENGINE = Kafka SETTINGS
    kafka_broker_list = 'localhost:9092', kafka_topic_list = 'api_calls_json',
    kafka_group_name = 'unused', kafka_format = 'JSONEachRow';

-- A view's target is the queue, not the view itself. It filters by service_id, spelled as the table
-- spells it.
CREATE MATERIALIZED VIEW services.push_csv TO services.queue_csv AS
SELECT api_id, time, time_taken, toString(api_id) AS _key
FROM services.API
WHERE service_id = 1;

CREATE MATERIALIZED VIEW services.push_json TO services.queue_json AS
SELECT api_id, time_taken, toString(api_id) AS _key, time AS _timestamp
FROM services.API
WHERE service_id = 1;

-- The way back: the objects that the jobs beside this file write, as a table. An object's path says
-- whose result it is and which window it holds.
CREATE VIEW services.shares AS
SELECT
    extract(_path::String, '/(csv|json)/') AS format,
    extract(_path::String, 'window_start=([^/]+)') AS window_start,
    parseDateTimeOrZero(window_start, '%Y-%m-%dT%H-%i-%SZ', 'UTC') AS window,
    api_id, calls, time_taken, percentage_time, percent_rank
FROM s3(
    'http://localhost:9000/test-bucket/api_calls/{csv,json}/*/*.parquet',
    'tranche-local', 'tranche-local-secret', 'Parquet',
    'api_id Int32, calls Int64, time_taken Int64, percentage_time Float64, percent_rank Float64');
