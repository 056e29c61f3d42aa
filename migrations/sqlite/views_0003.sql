-- The row with the position of the views is checked like the others: a wrong position would leave out records.
ALTER TABLE made ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
