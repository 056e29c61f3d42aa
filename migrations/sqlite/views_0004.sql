-- Records that a view skipped because of an internal error. They are reported until the views are rebuilt.
CREATE TABLE passed_over (
    position INTEGER NOT NULL,
    view     TEXT    NOT NULL,
    message  TEXT    NOT NULL,
    PRIMARY KEY (position, view)
) STRICT, WITHOUT ROWID;
