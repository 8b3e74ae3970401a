//! Settings: one declarative table, postgresql.conf, reload, SET and SHOW.
