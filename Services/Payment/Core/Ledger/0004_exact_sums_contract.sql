-- Balances are told as numbers of JSON, which browsers tell apart up to 2^53 - 1. The bank owes what all others of its
-- currency hold, so that no sum of theirs is more either. Not checked for what is there: nobody holds as much.
ALTER TABLE accounts ADD CONSTRAINT accounts_are_told_exactly
    CHECK (balance BETWEEN -9007199254740991 AND 9007199254740991) NOT VALID;
