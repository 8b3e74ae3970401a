//! SQL text to statements, with PostgreSQL's error text and position.
