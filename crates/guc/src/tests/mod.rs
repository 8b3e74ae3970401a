//! Tests that go through the public interface: sessions with transactions, and configuration files.

mod files;
mod sessions;
mod settings_table;
