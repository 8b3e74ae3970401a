//! SQL types, their input and output, and the built-in functions.
