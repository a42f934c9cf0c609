-- One more with every change of an account that is published.
ALTER TABLE accounts ADD COLUMN revision bigint NOT NULL DEFAULT 1;
