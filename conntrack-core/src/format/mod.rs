//! Flows and quantities as text, for terminals and scripts. Nothing here
//! prints: every function returns something that implements `Display`.

mod conntrack;
mod event;
pub(crate) mod line;
mod session;
mod units;

pub use conntrack::ConntrackLine;
pub use conntrack::conntrack_line;
pub use conntrack::extended_line;
pub use event::EventLine;
pub use event::event_line;
pub use session::Arrow;
pub use session::SessionLine;
pub use session::arrow;
pub use session::session_line;
pub use units::HumanBytes;
pub use units::HumanDuration;
pub use units::human_bytes;
pub use units::human_duration;
