-- How far each of the two has read: the number of a message, which rises.
ALTER TABLE conversations ADD COLUMN first_read bigint NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN second_read bigint NOT NULL DEFAULT 0;
