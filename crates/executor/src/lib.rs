//! Turns a statement into a plan and the plan into rows.
