//! p0f's file: what is wrong with one, and which signature a segment's is.

use conntrack_core::p0f::Database;
use conntrack_core::p0f::Kind;
use conntrack_core::p0f::Quality;
use conntrack_core::p0f::Signature;
use conntrack_core::p0f::System;
use proptest::prelude::*;

use crate::shape::*;

/// Made for these tests; lines are counted from 1.
const FILE: &str = "\
; comment
classes = win,unix

[mtu]
label = Ethernet
sig   = 1500
label = Tunnel
sig = 1500
sig = 1400
[tcp:request]
label = s:unix:Near:(one): 1.x
sig   = *:64:0:*:mss*10,0:mss:df,id+:0
sig   = 4:60+4:0:1400:%1000,*:mss:df,id+,ecn:*
label = s:!:Tool:
sys   = @UNIX, Near
sig   = *:255-:0:*:5,0:mss::0
sig   = *:100:0:*:7,0:mss:df:0
label = s:Win:Both:
sig   = *:128:0:*:9,0:mss:df,id+,0+,flow:0
sig   = *:128:0:*:mtu*2,0:mss::+
sig   = *:64:0:1400:*,0:mss,eol+3::0
label = g:unix:Any:last resort
sig   = *:64:0:*:*,*:mss:df,id+:0

[http:request]
ua_os = anything \u{e9}
nonsense
[tcp:response]
label = s:win:Server:9
sig   = 4:128:0:*:*,0:mss:df:0
";

/// What is found for a SYN that differs so from a plain one.
fn find(database: &Database, change: impl Fn(&mut Shape)) -> (String, u8) {
    let mut shape = Shape::default();
    change(&mut shape);
    let signature = Signature::from_packet(&shape.bytes()).unwrap();
    let found = database.find(Kind::Syn, &signature);
    let label = match found.matched {
        Some(matched) => format!("{} [{}]", matched.label, found.params()),
        None => format!("- [{}]", found.params()),
    };
    (label, found.distance)
}

fn mss(value: u16) -> Vec<u8> {
    let [high, low] = value.to_be_bytes();
    vec![2, 4, high, low]
}

#[test]
fn specific_then_generic_then_fuzzy() {
    let database = Database::parse(FILE.as_bytes()).unwrap();
    assert_eq!(database.len(), 12);
    let expect = |change: &dyn Fn(&mut Shape), label: &str, distance| {
        assert_eq!(
            find(&database, change),
            (label.to_owned(), distance),
            "{label}"
        );
    };
    expect(&|_| {}, "Near (one): 1.x [none]", 0);
    expect(&|syn| syn.ttl = 29, "Near (one): 1.x [none]", 35);
    expect(&|syn| syn.window = 14_601, "Any last resort [generic]", 0);
    // No signature takes a longer way, or a larger TTL.
    expect(&|syn| syn.ttl = 28, "Near (one): 1.x [fuzzy]", 4);
    expect(&|syn| syn.ttl = 120, "Near (one): 1.x [fuzzy]", 8);
    // Quirks that routers make and take, and others.
    expect(&|syn| syn.id = 0, "Near (one): 1.x [fuzzy]", 0);
    expect(
        &|syn| (syn.ip_flags, syn.id) = (0, 0),
        "Near (one): 1.x [fuzzy]",
        0,
    );
    expect(&|syn| syn.class = 1, "Near (one): 1.x [fuzzy]", 0);
    expect(&|syn| syn.seq = 0, "- [none]", 0);
    expect(&|syn| syn.flags |= PSH, "- [none]", 0);
    expect(&|syn| syn.payload = vec![0], "- [none]", 0);
    // The window's multiples, wildcards, and a fixed MSS.
    let thousands = |syn: &mut Shape| {
        (syn.options, syn.window, syn.class) = (mss(1400), 3000, 1);
        syn.payload = vec![0];
    };
    expect(&thousands, "Near (one): 1.x [none]", 0);
    expect(&|syn| (thousands(syn), syn.window = 3001).0, "- [none]", 0);
    expect(
        &|syn| (thousands(syn), syn.options = mss(1401)).0,
        "- [none]",
        0,
    );
    let twice = |syn: &mut Shape| {
        (syn.window, syn.ttl, syn.ip_flags, syn.payload) = (3000, 127, 0, vec![0]);
    };
    expect(&twice, "Both [none]", 1);
    expect(&|syn| (twice(syn), syn.window = 2880).0, "- [none]", 1);
}

#[test]
fn programs_make_up_their_packets() {
    let database = Database::parse(FILE.as_bytes()).unwrap();
    let tool = |ttl| Shape {
        window: 5,
        ip_flags: 0,
        ttl,
        ..Shape::default()
    };
    let found = |shape: &Shape| {
        let signature = Signature::from_packet(&shape.bytes()).unwrap();
        let found = database.find(Kind::Syn, &signature);
        let label = found.matched.map(|matched| matched.label.clone());
        (label, found.params(), found.distance, found.mtu)
    };
    let (label, params, distance, mtu) = found(&tool(70));
    let label = label.unwrap();
    assert!(label.is_tool());
    let systems = [
        System::Class("unix".to_owned()),
        System::Name("Near".to_owned()),
    ];
    assert_eq!(label.systems, systems);
    assert_eq!(
        (params.as_str(), distance, mtu),
        ("random_ttl excess_dist", 185, None)
    );
    // One that only nearly fits is nobody's.
    let other = Shape {
        window: 7,
        ttl: 110,
        id: 0,
        ..Shape::default()
    };
    assert_eq!(found(&other), (None, "none".to_owned(), 18, Some(1500)));
    let (label, ..) = found(&Shape { ttl: 100, ..other });
    assert_eq!(label.unwrap().name, "Tool");
}

#[test]
fn families_links_and_directions() {
    let database = Database::parse(FILE.as_bytes()).unwrap();
    // Quirks of the other family do not matter in a signature for both.
    let v6 = |label, window| Shape {
        v6: true,
        label,
        window,
        ttl: 128,
        ..Shape::default()
    };
    let find = |kind, shape: &Shape| {
        let signature = Signature::from_packet(&shape.bytes()).unwrap();
        let found = database.find(kind, &signature);
        let matched = found.matched.map(|matched| (matched.quality, matched.line));
        (matched, found.mtu, found.link)
    };
    let exact = |line| Some((Quality::Exact, line));
    assert_eq!(find(Kind::Syn, &v6(1, 9)), (exact(19), Some(1520), None));
    // In IPv6 that one's quirks count for nothing, but its TTL does.
    let last = Some((Quality::FuzzyGeneric, 23));
    assert_eq!(find(Kind::Syn, &v6(0, 9)).0, last);
    let v4 = Shape {
        ip_flags: DF | RESERVED,
        ..Shape {
            v6: false,
            ..v6(0, 9)
        }
    };
    assert_eq!(
        find(Kind::Syn, &v4),
        (exact(19), Some(1500), Some("Ethernet"))
    );
    let tunnel = Shape {
        options: mss(1340),
        v6: true,
        ..Shape::default()
    };
    assert_eq!(find(Kind::Syn, &tunnel).2, Some("Tunnel"));
    let padded = |zeros: usize| Shape {
        options: [mss(1400), vec![0; 1 + zeros]].concat(),
        ip_flags: 0,
        ..Shape::default()
    };
    assert_eq!(find(Kind::Syn, &padded(3)).0, exact(21));
    assert_eq!(find(Kind::Syn, &padded(7)).0, None);
    let answer = Shape {
        ttl: 128,
        ..Shape::answer()
    };
    assert_eq!(find(Kind::SynAck, &answer).0, exact(30));
    assert_eq!(find(Kind::Syn, &answer).0, Some((Quality::Fuzzy, 12)));
    assert_eq!(find(Kind::SynAck, &Shape { v6: true, ..answer }).0, None);
}

/// What is wrong, with `|` for the ends of lines: its line, its field, the file.
const WRONG: [(usize, &str, &str); 36] = [
    (1, "line", "nonsense"),
    (1, "line", "classes"),
    (2, "line", "classes = a|vendor = b"),
    (1, "classes", "classes = a,,b"),
    (1, "classes", "classes = a b"),
    (2, "classes", "[mtu]|classes = a"),
    (2, "section", ";|label = s:!:a:"),
    (1, "section", "sig = 1"),
    (1, "section", "[mtu"),
    (1, "section", "[tcp]"),
    (1, "section", "[tcp:requests]"),
    (2, "label", "[mtu]|label ="),
    (2, "sig", "[mtu]|sig = 1500"),
    (3, "sig", "[mtu]|label = a|sig = 0"),
    (3, "sig", "[mtu]|label = a|sig = 65536"),
    (3, "sig", "[mtu]|label = a|sig = 1500x"),
    (3, "sys", "[mtu]|label = a|sys = b"),
    (2, "sig", "[tcp:request]|sig = 4:64:0:0:1,0:::0"),
    (2, "label", "[tcp:request]|label = s:!:a"),
    (2, "label", "[tcp:request]|label = x:!:a:"),
    (2, "label", "[tcp:request]|label = s:unix:a:"),
    (2, "label", "[tcp:request]|label = s:!:a$:"),
    (2, "label", "[tcp:request]|label = s:!::b"),
    (2, "label", "[tcp:request]|label = s:!:a:\u{1b}[2J"),
    (
        3,
        "sig",
        "[tcp:request]|label = s:!:a:|sig = 4:64:0:0:1,0:::0",
    ),
    (3, "label", "[tcp:request]|label = s:!:a:|label = s:!:b:"),
    (3, "section", "[tcp:request]|label = s:!:a:|[tcp:response]"),
    (3, "sys", "[tcp:request]|label = s:!:a:|sys = @unix"),
    (3, "sys", "[tcp:request]|label = s:!:a:|sys = b,"),
    (4, "sys", "classes = u|[tcp:request]|label = s:u:a:|sys = b"),
    (
        4,
        "signature",
        "classes = u|[tcp:request]|label = s:u:a:|sig = 4:64",
    ),
    (
        4,
        "IP version",
        "classes = u|[tcp:request]|label = s:u:a:|sig = 5:64:0:0:1,0:::0",
    ),
    (
        4,
        "TTL",
        "classes = u|[tcp:request]|label = s:u:a:|sig = 4:0:0:0:1,0:::0",
    ),
    (
        4,
        "TTL",
        "classes = u|[tcp:request]|label = s:u:a:|sig = 4:200+56:0:0:1,0:::0",
    ),
    (
        4,
        "window",
        "classes = u|[tcp:request]|label = s:u:a:|sig = 4:64:0:0:%1,0:::0",
    ),
    (
        4,
        "quirks",
        "classes = u|[tcp:request]|label = s:u:a:|sig = 6:64:0:0:1,0::df:0",
    ),
];

#[test]
fn errors_say_where_and_what() {
    for (line, field, text) in WRONG {
        let file = text.replace('|', "\n");
        let error = Database::parse(file.as_bytes()).unwrap_err();
        assert_eq!(
            (error.line(), error.field()),
            (line, field),
            "{text}: {error}"
        );
        let shown = error.to_string();
        assert!(shown.starts_with(&format!("line {line}: ")), "{shown}");
        assert!(!shown.contains(char::is_control), "{shown:?}");
    }
}

#[test]
fn sizes_have_limits() {
    let begin = "classes = u\n[tcp:request]\nlabel = s:u:a:\n";
    let error = |file: &str| Database::parse(file.as_bytes()).unwrap_err();
    let signature = "sig = 4:64:0:0:1,0:::0\n";
    let many = format!("{begin}{}", signature.repeat(65_536));
    assert_eq!(Database::parse(many.as_bytes()).unwrap().len(), 65_536);
    assert_eq!(error(&format!("{many}{signature}")).line(), 65_540);
    let long = format!("{begin}label = s:u:a:{}\n", "b".repeat(4096));
    let error_of_long = error(&long);
    assert_eq!((error_of_long.line(), error_of_long.field()), (4, "line"));
    assert!(error_of_long.to_string().len() < 200);
    let huge = format!("{begin};{}\n", "x".repeat(4 << 20));
    assert_eq!(error(&huge).line(), 4);
    let classes = vec!["c"; 257].join(",");
    assert_eq!(error(&format!("classes = {classes}")).field(), "classes");
    let systems = vec!["s"; 65].join(",");
    assert_eq!(
        error(&format!("[tcp:request]\nlabel = s:!:a:\nsys = {systems}")).line(),
        3
    );
    assert!(Database::parse(b"").unwrap().is_empty());
    // In a section of another module nothing is looked at.
    let other = b"classes = u\r\n[smtp:request]\n\xff\xfe = \0\n[mtu]\nlabel=a\nsig=5\n";
    assert_eq!(Database::parse(other).unwrap().len(), 1);
    assert_eq!(Database::parse(b"; \xff\n\xff").unwrap_err().line(), 2);
}

proptest! {
    #[test]
    fn no_file_is_too_much(
        start in 0..FILE.len(),
        length in 0..40_usize,
        put in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut file = FILE.as_bytes().to_vec();
        let end = (start + length).min(file.len());
        file.splice(start..end, put);
        match Database::parse(&file) {
            Ok(database) => prop_assert!(database.len() < 50),
            Err(error) => prop_assert!(error.line() <= file.len()),
        }
    }
}
