-- 30,000 calls of three services in three hours; 10,000 of them are of service 1.
INSERT INTO services.API
SELECT
    1 + intHash32(number) % 20,
    toDateTime64('2026-11-23 10:00:00', 3, 'UTC') + INTERVAL number * 360 MILLISECOND,
    intHash32(number + 1000000) % 500,
    1 + number % 3
FROM numbers(30000);
