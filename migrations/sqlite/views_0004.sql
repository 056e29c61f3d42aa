-- Records that a view passed over because of a bug of ours; told for as long as the rows stand as they do.
CREATE TABLE passed_over (
    position INTEGER NOT NULL,
    view     TEXT    NOT NULL,
    message  TEXT    NOT NULL,
    PRIMARY KEY (position, view)
) STRICT, WITHOUT ROWID;
