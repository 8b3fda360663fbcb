-- What a tenant says of a user beyond what the user's token says. One text for SQLite and PostgreSQL 15, as in 0001.
--
-- role_given: whether a user.upserted has given the role. It then wins over the role in a token; otherwise the role here is only what
-- the user's first token said, or the default of somebody who was named before they came.
-- signed_out_at: tokens of the user that were issued before this moment are worth nothing; NULL where nobody signed the user out.
ALTER TABLE users ADD COLUMN role_given BOOLEAN NOT NULL DEFAULT false;
ALTER TABLE users ADD COLUMN signed_out_at VARCHAR(27);
