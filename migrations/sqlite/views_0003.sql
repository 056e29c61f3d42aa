-- What says how far the views are is checked like the rows are: a position that is another one would leave records out.
ALTER TABLE made ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
