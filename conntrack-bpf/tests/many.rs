//! A large table: each flow comes out once, and reading it takes no memory that
//! grows with it.

mod common;

use std::alloc::GlobalAlloc;
use std::alloc::Layout;
use std::alloc::System;
use std::cell::Cell;
use std::fs;
use std::mem;
use std::net::IpAddr;
use std::time::Instant;

use common::Lab;
use common::TIME;
use common::packet::*;
use conntrack_bpf::Clock;
use conntrack_bpf::datapath::Entry;
use conntrack_bpf::remove;
use conntrack_bpf::table::Walk;
use conntrack_bpf::testrun;
use conntrack_core::Family;
use conntrack_core::Flow;
use conntrack_core::FlowFilter;

/// Counts what a thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, handed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Memory of this process that is neither a file's nor a mapping of the table,
/// in KiB.
fn own_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let amount = line.and_then(|line| line.split_whitespace().nth(1));
    let amount = amount.and_then(|amount| amount.parse().ok());
    amount.expect("a number of KiB")
}

/// Two of three flows are IPv4. The number is in the opener's address.
fn family(number: u32) -> Family {
    if number.is_multiple_of(3) {
        Family::Ipv6
    } else {
        Family::Ipv4
    }
}

fn number(flow: &Flow) -> u32 {
    let number = match flow.original.tuple.src {
        IpAddr::V4(addr) => addr.to_bits() & 0xff_ffff,
        IpAddr::V6(addr) => addr.to_bits() as u32,
    };
    assert_eq!(family(number), flow.family);
    number
}

/// Opens flows until this many are in the tables; how many it opened.
fn fill(lab: &mut Lab, flows: u32) -> u32 {
    let mut v4 = Packet::udp(end("10.0.0.0:1"), end("192.0.2.1:2")).frame();
    let mut v6 = Packet::udp(end("[2001:db8::]:1"), end("[2001:db8:1::]:2")).frame();
    lab.replayer.set(TIME, 2000);
    let mut opened = 0;
    loop {
        let table = lab.counters().table;
        let there = table.created - table.evicted();
        if there == u64::from(flows) {
            return opened;
        }
        for _ in there..u64::from(flows) {
            let source = opened.to_be_bytes();
            let frame = match family(opened) {
                Family::Ipv4 => {
                    v4[27..30].copy_from_slice(&source[1..]);
                    &v4
                }
                Family::Ipv6 => {
                    v6[34..38].copy_from_slice(&source);
                    &v6
                }
            };
            testrun::run(lab.program(Entry::Xdp), frame).expect("test run");
            opened += 1;
        }
    }
}

fn walk(lab: &Lab) -> Walk {
    lab.tables.walk(FlowFilter::default(), Clock::stopped(TIME))
}

/// Reads all flows, each of which must come once; allocations, and growth of
/// memory in KiB, meanwhile.
fn read_all(lab: &Lab, flows: u32, opened: u32) -> (u64, u64) {
    let mut seen = vec![false; opened as usize];
    let mut count = 0;
    let memory = own_memory();
    let allocations = ALLOCATIONS.get();
    for flow in walk(lab) {
        let number = number(&flow.expect("a flow"));
        assert!(!mem::replace(&mut seen[number as usize], true), "{number}");
        count += 1;
    }
    let allocations = ALLOCATIONS.get() - allocations;
    let grown = own_memory().saturating_sub(memory);
    assert_eq!(count, flows);
    (allocations, grown)
}

#[test]
#[ignore = "root"]
fn each_of_a_million_flows_comes_out_once_in_flat_memory() {
    for (flows, max_flows) in [(10_000, 12_000), (1_000_000, 1_200_000)] {
        let mut lab = Lab::with(|config| config.table.max_flows = max_flows);
        let opened = fill(&mut lab, flows);
        let (allocations, grown) = read_all(&lab, flows, opened);
        assert_eq!(allocations, 0, "{flows} flows");
        // Pages that the test and the harness touch for the first time.
        assert!(grown < 1024, "{flows} flows: {grown} KiB");

        let counts = lab.tables.count(&Clock::stopped(TIME));
        assert_eq!(counts.active, u64::from(flows));
        assert_eq!(counts.by_protocol["udp"], u64::from(flows));
        assert_eq!(walk(&lab).count(), flows as usize, "a second time");

        let begin = Instant::now();
        let moment = remove::now(&lab.datapath).expect("the time");
        let flushed = remove::all(&lab.datapath, &lab.tables, moment).expect("flush");
        println!("{flushed} flows flushed in {:?}", begin.elapsed());
        assert_eq!(flushed, u64::from(flows));
        assert_eq!(walk(&lab).count(), 0);
    }
}
