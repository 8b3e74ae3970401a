//! tmp
#![allow(dead_code, unused)]
#[path = "it/isolation.rs"] mod isolation;
#[path = "it/support.rs"] mod support;
#[path = "it/transcript.rs"] mod transcript;
