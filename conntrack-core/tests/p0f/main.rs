//! p0f's signatures: texts, packets, its file, and the program itself.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic")]

mod compare;
mod crafted;
mod database;
mod filed;
mod hostile;
mod parse;
mod probe;
mod program;
mod same;
mod shape;
mod text;
mod wild;
