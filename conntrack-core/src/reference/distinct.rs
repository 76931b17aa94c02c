//! How many distinct things there were within a window, by HyperLogLog: the reference of
//! the packet path's `distinct.h`, and the estimate, which only readers make.
//!
//! The estimate is Ertl's improved raw estimator (New cardinality estimation algorithms for
//! HyperLogLog sketches, 2017, algorithm 6): it needs no tables of corrections, and is as
//! good for few things as for many.

/// Ranks there are: `CT_PORT_RANKS`.
pub const RANKS: usize = 24;

/// The register that a hash belongs to, and its rank, from 1 on.
pub fn place(hash: u64, registers: u32) -> (u32, u8) {
    let register = hash as u32 & (registers - 1);
    let zeros = ((hash >> 32) as u32).trailing_zeros();
    let rank = (zeros + 1).min(RANKS as u32);
    (register, rank as u8)
}

/// The relative standard error of an estimate.
pub fn standard_error(registers: u32) -> f64 {
    1.04 / f64::from(registers).sqrt()
}

/// The highest rank of each register.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Registers(Vec<u8>);

impl Registers {
    /// Empty ones; their number is a power of two.
    pub fn new(registers: u32) -> Self {
        Self(vec![0; registers as usize])
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        self.0.len() as u32
    }

    /// Whether nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|rank| *rank == 0)
    }

    /// Notes a thing by its hash.
    pub fn note(&mut self, hash: u64) {
        let (register, rank) = place(hash, self.len());
        self.note_rank(register, rank);
    }

    /// Notes a rank of a register; one that is not there is passed over.
    pub fn note_rank(&mut self, register: u32, rank: u8) {
        if let Some(highest) = self.0.get_mut(register as usize) {
            *highest = rank.min(RANKS as u8).max(*highest);
        }
    }

    /// How many distinct things were noted.
    pub fn estimate(&self) -> f64 {
        let mut counts = [0_u32; RANKS + 1];
        for rank in &self.0 {
            counts[usize::from(*rank)] += 1;
        }
        let all = self.0.len() as f64;
        let share = |count: u32| f64::from(count) / all;
        let mut sum = all * tau(1.0 - share(counts[RANKS]));
        for count in counts[1..RANKS].iter().rev() {
            sum = 0.5 * (sum + f64::from(*count));
        }
        sum += all * sigma(share(counts[0]));
        all * all / (2.0 * std::f64::consts::LN_2 * sum)
    }
}

/// Of the share of registers that nothing was noted in; infinite for all of them.
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z <= before {
            return z;
        }
    }
}

/// Of the share of registers that are not at the highest rank.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z >= before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SplitMix64.
    fn hash(n: u64) -> u64 {
        let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    #[test]
    fn nothing_is_nothing() {
        let registers = Registers::new(1024);
        assert!(registers.is_empty() && registers.estimate() == 0.0);
    }

    #[test]
    fn places_are_low_and_high_bits() {
        assert_eq!(place(0, 1024), (0, 24));
        assert_eq!(place(1 << 32 | 1023, 1024), (1023, 1));
        assert_eq!(place(1 << 55 | 1024, 1024), (0, 24));
        assert_eq!(place(1 << 54, 1024), (0, 23));
    }

    /// The mean square of the relative errors is what it should be: not much more, nor much
    /// less, for few things and for many.
    #[test]
    fn errors_are_as_stated() {
        const SEEDS: u64 = 40;
        for (registers, counts) in [(256, [10, 300, 5000]), (2048, [100, 4000, 100_000])] {
            for count in counts {
                let squares = (0..SEEDS).map(|seed| {
                    let mut all = Registers::new(registers);
                    (0..count).for_each(|n| all.note(hash(seed << 40 | n)));
                    (all.estimate() / count as f64 - 1.0).powi(2)
                });
                let error = (squares.sum::<f64>() / SEEDS as f64).sqrt();
                let stated = standard_error(registers);
                assert!(
                    error < stated * 1.4,
                    "{count} in {registers}: {error}, {stated}"
                );
            }
        }
    }
}
