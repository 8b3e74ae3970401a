//! The logger: writes what the others report into files that rotate.
