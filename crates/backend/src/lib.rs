//! One client session, from its start-up packet to its end.
