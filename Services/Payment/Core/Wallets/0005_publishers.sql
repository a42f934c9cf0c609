-- Whose orders it holds for, besides those that the owner placed in the app. Null: nobody's.
ALTER TABLE authorisations ADD COLUMN publisher text;
-- Whether an authorisation paid the order, and whom that authorisation named then.
ALTER TABLE orders
    ADD COLUMN authorised boolean NOT NULL DEFAULT false,
    ADD COLUMN authorised_publisher text;
