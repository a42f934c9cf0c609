-- For forgetting what was told of orders that are long over.
CREATE INDEX told_in_person ON told (told_at) WHERE account_id IS NOT NULL;
