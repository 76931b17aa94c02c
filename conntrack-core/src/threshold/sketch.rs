//! Where sources are counted.

/// The Count-Min Sketch that points at sources which may be beyond a limit. It is fixed
/// when a tracker is created.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct SketchConfig {
    /// Cells of a row: a power of two from 1,024 to 16,777,216. A source's count is
    /// overstated by more than e / width of all connections that are begun in a window
    /// with probability e^-rows at most.
    pub width: u32,
    /// Rows, 1 to 8. A cell takes 8 bytes.
    pub rows: u32,
}

impl SketchConfig {
    /// Widths that can be.
    pub const WIDTHS: [u32; 2] = [1 << 10, 1 << 24];
    /// The most rows.
    pub const MAX_ROWS: u32 = 8;

    /// All of its cells; 2^27 at the most.
    pub fn cells(&self) -> u32 {
        self.width.saturating_mul(self.rows)
    }

    /// Kernel memory in bytes.
    pub fn bytes(&self) -> u64 {
        u64::from(self.cells()) * 8
    }

    /// Why it cannot be: the setting, and what is wrong with it.
    pub(crate) fn fault(&self) -> Option<(&'static str, String)> {
        let [low, high] = Self::WIDTHS;
        let (width, rows, most) = (self.width, self.rows, Self::MAX_ROWS);
        if !(low..=high).contains(&width) || !width.is_power_of_two() {
            let message = format!("expected a power of two from {low} to {high}, found {width}");
            return Some(("width", message));
        }
        if !(1..=most).contains(&rows) {
            let message = format!("expected a number from 1 to {most}, found {rows}");
            return Some(("rows", message));
        }
        None
    }
}

impl Default for SketchConfig {
    /// 2 MiB.
    fn default() -> Self {
        Self {
            width: 65_536,
            rows: 4,
        }
    }
}
