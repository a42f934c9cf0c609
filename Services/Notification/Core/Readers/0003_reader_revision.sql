-- Which revision of the account said the language; 0: it was not numbered. An account that changed to the language that
-- readers are told in anyway keeps its row from then on, so that an older record of it changes nothing.
ALTER TABLE readers ADD COLUMN revision bigint NOT NULL DEFAULT 0;
