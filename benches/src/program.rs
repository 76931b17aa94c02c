//! How large a loaded program is.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;

use libbpf_rs::query::ProgInfoIter;
use libbpf_rs::query::ProgInfoQueryOptions;
use serde::Serialize;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;

/// Size of a BPF instruction, bytes.
const INSTRUCTION: usize = 8;

/// How large a program is, subprograms included.
#[derive(Clone, Debug, Serialize)]
pub struct ProgramSize {
    /// Its name, as the kernel keeps it.
    pub name: String,
    /// Instructions after the verifier has rewritten it.
    pub instructions: usize,
    /// Machine code, bytes.
    pub machine_bytes: u32,
    /// Instructions the verifier walked through.
    pub verified: u32,
}

impl ProgramSize {
    /// Asks the kernel.
    ///
    /// # Errors
    /// If `program` is no descriptor of a loaded program.
    pub fn read(program: BorrowedFd<'_>) -> Result<Self> {
        let path = format!("/proc/self/fdinfo/{}", program.as_raw_fd());
        let text = fs::read_to_string(&path).context(&format!("read {path}"))?;
        let id = text
            .lines()
            .find_map(|line| line.strip_prefix("prog_id:"))
            .and_then(|id| id.trim().parse::<u32>().ok());
        let options = ProgInfoQueryOptions::default()
            .include_xlated_prog_insns(true)
            .include_jited_func_lens(true);
        let info = ProgInfoIter::with_query_opts(options)
            .find(|info| Some(info.id) == id)
            .ok_or_else(|| Error::Wrong {
                row: path,
                what: "it is no loaded program".to_owned(),
            })?;
        Ok(Self {
            name: info.name.to_string_lossy().into_owned(),
            instructions: info.xlated_prog_insns.len() / INSTRUCTION,
            machine_bytes: info.jited_func_lens.iter().sum(),
            verified: info.verified_insns,
        })
    }
}
