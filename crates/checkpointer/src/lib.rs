//! The checkpointer and the way to ask it for a checkpoint.
