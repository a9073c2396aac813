-- Pushes an hour again of which nothing has arrived.
INSERT INTO services.queue_csv
SELECT api_id, time, time_taken, toString(api_id)
FROM services.API
WHERE service_id = 1 AND toStartOfHour(time) = toDateTime('2026-11-23 13:00:00', 'UTC');

INSERT INTO services.queue_json
SELECT api_id, time_taken, toString(api_id), time
FROM services.API
WHERE service_id = 1 AND toStartOfHour(time) = toDateTime('2026-11-23 13:00:00', 'UTC');
