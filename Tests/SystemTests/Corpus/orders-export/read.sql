-- A spreadsheet's export: semicolons, single quotes, blanks, and a header in each message.
SELECT nullif("Total", 'NA')::DECIMAL(10,2) AS total, trim("Order No")::INTEGER AS order_no,
    "Customer" AS customer, "Placed At"::TIMESTAMP AS placed_at
FROM read_csv('VALUES', delim = ';', quote = '''', escape = '''', header = true,
    all_varchar = true)
WHERE "Order No" <> 'Order No'
