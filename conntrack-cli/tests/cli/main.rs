//! The built program, from outside: arguments, exit codes, output.
//!
//! Tests that need root are `#[ignore = "root"]`; they use network namespaces
//! and instances of their own names.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod arguments;
mod ban;
mod ban_list;
mod config;
mod demo;
mod doctor;
mod events;
mod fail2ban;
mod fingerprints;
mod golden;
mod health;
mod icmp;
mod interfaces;
mod live;
mod memory;
mod netns;
mod p0f_socket;
mod packets;
mod ports;
mod remove;
mod replay;
mod resize;
mod run;
mod schema;
mod sizes;
mod ssh;
mod stacks;
mod terminal;
mod threshold;
mod tools;
mod traces;
mod unprivileged;
mod upgrade;
mod words;
