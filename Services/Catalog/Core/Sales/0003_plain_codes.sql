-- A code of another spelling that Unicode calls equal (KELVIN SIGN for K) was taken for a variant's. As the code itself the
-- sale can be read, changed and published again.
UPDATE sales SET body = normalize(body::text, NFC)::jsonb
WHERE body @? '$.batches[*].lines[*].variant ? (!(@ like_regex "^[A-Za-z0-9._-]{1,64}$"))';
UPDATE sale_changes SET body = normalize(body::text, NFC)::jsonb
WHERE body @? '$.batches[*].lines[*].variant ? (!(@ like_regex "^[A-Za-z0-9._-]{1,64}$"))';
