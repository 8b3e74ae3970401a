//! Roles and databases that exist before there are tables.
