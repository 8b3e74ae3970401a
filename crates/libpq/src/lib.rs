//! Wire protocol 3.0, TLS, pg_hba.conf and authentication.
