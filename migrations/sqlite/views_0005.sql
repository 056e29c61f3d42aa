-- How many records were passed over: of many only the first are named.
ALTER TABLE made ADD COLUMN passed_over INTEGER NOT NULL DEFAULT 0;
