//! `doctor`, to read.

use std::fmt::Display;
use std::io;
use std::io::Write;

use conntrack::Doctor;
use conntrack::InterfaceReport;
use conntrack::KernelReport;
use conntrack::PlanReport;
use conntrack::PresentReport;
use conntrack_core::format::human_bytes;

use crate::terminal::clean;

/// Width of the words at the left.
const LABEL: usize = 12;

/// The whole, to read: the verdict, then what it rests on.
pub(crate) fn text(doctor: &Doctor, out: &mut impl Write) -> io::Result<()> {
    line(out, "verdict", doctor.verdict)?;
    for reason in &doctor.reasons {
        line(out, "", clean(reason))?;
    }
    kernel(&doctor.kernel, out)?;
    for report in &doctor.interfaces {
        interface(report, out)?;
    }
    Ok(())
}

fn kernel(kernel: &KernelReport, out: &mut impl Write) -> io::Result<()> {
    let root = if kernel.root { "root" } else { "not root" };
    let mut words = format!("{}, {root}", clean(&kernel.release));
    if let Some(value) = kernel.unprivileged_bpf_disabled {
        words += &format!(", unprivileged_bpf_disabled {value}");
    }
    if let Some(bytes) = kernel.memlock {
        words += &format!(", may lock {}", human_bytes(bytes));
    }
    line(out, "kernel", words)?;
    for fact in &kernel.facts {
        let there = match fact.present {
            Some(true) => "yes",
            Some(false) => "no",
            None => "?",
        };
        line(
            out,
            "",
            format_args!("{there:<4} {:<14} {}", fact.name, fact.purpose),
        )?;
    }
    Ok(())
}

fn interface(report: &InterfaceReport, out: &mut impl Write) -> io::Result<()> {
    let driver = match &report.driver {
        Some(driver) => format!("driver {}, ", clean(driver)),
        None => String::new(),
    };
    let up = if report.up { "up" } else { "down" };
    let xdp = match report.native_xdp {
        Some(true) => ", the driver runs XDP",
        Some(false) => ", the driver runs no XDP",
        None => "",
    };
    let name = clean(&report.name);
    let (mtu, rx, tx) = (report.mtu, report.rx_queues, report.tx_queues);
    let words = format!("{name}: {driver}{up}, MTU {mtu}, queues {rx} in {tx} out{xdp}");
    line(out, "interface", words)?;
    for present in &report.present {
        line(out, "", format_args!("present: {}", program(present)))?;
    }
    if let Some(refusal) = &report.refusal {
        line(
            out,
            "",
            format_args!("attach would refuse: {}", clean(refusal)),
        )?;
    }
    match &report.plan {
        Some(plan) => planned(plan, out),
        None => Ok(()),
    }
}

fn program(present: &PresentReport) -> String {
    let side = if present.egress { "egress" } else { "ingress" };
    let name = match &present.name {
        Some(name) => format!(" {}", clean(name)),
        None => String::new(),
    };
    match present.id {
        Some(id) => format!("{} on {side}, program{name} id {id}", present.hook),
        None => format!("{} on {side}, a filter{name}", present.hook),
    }
}

fn planned(plan: &PlanReport, out: &mut impl Write) -> io::Result<()> {
    let otherwise = match plan.otherwise {
        Some(hook) => format!(", or {hook} on ingress if the driver refuses"),
        None => String::new(),
    };
    let words = format!("attach would choose {}{otherwise}", plan.hooks);
    line(out, "", words)?;
    for why in &plan.why {
        line(out, "", format_args!("because {}", clean(why)))?;
    }
    Ok(())
}

fn line(out: &mut impl Write, label: &str, text: impl Display) -> io::Result<()> {
    writeln!(out, "{label:<LABEL$}{text}")
}
