-- How many records were skipped. If there are many, only the first are listed.
ALTER TABLE made ADD COLUMN passed_over INTEGER NOT NULL DEFAULT 0;
