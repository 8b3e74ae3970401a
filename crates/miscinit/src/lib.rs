//! The environment of one server process: signals, exit callbacks, title, lock files.
