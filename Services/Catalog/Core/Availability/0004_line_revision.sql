-- The revision of the newest that was heard of the line; 0: nothing was, or it was not numbered. An older one changes
-- nothing.
ALTER TABLE line_states ADD COLUMN revision integer NOT NULL DEFAULT 0;
