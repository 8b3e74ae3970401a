//! The startup process: brings the cluster to a consistent state, then ends.
