//! Histograms with four buckets an octave, as the packet path fills them, and what they
//! say: quantiles.

use std::time::Duration;

/// Durations, counted in buckets: each is known to an eighth of itself.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct Histogram {
    unit: Duration,
    counts: Vec<u32>,
}

/// A bucket of a [`Histogram`] that is not empty.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Bucket {
    /// The shortest duration in it.
    pub from: Duration,
    /// The shortest beyond it; that of the last bucket has no meaning, for what is longer
    /// is in it as well.
    pub to: Duration,
    /// How many there are.
    pub count: u64,
}

impl Histogram {
    /// Counts by bucket, of durations in such units.
    pub fn new(unit: Duration, counts: Vec<u32>) -> Self {
        Self { unit, counts }
    }

    /// The width of the first buckets.
    pub fn unit(&self) -> Duration {
        self.unit
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().copied().map(u64::from).sum()
    }

    /// The buckets with something in them, the shortest durations first.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> {
        let counts = (0..).zip(&self.counts);
        counts
            .filter(|(_, count)| **count > 0)
            .map(|(index, count)| {
                let (from, to) = (lowest(index), lowest(index + 1));
                Bucket {
                    from: self.unit.saturating_mul(from),
                    to: self.unit.saturating_mul(to),
                    count: u64::from(*count),
                }
            })
    }

    /// The duration that such a part of them does not exceed, 0 to 1: the middle of its
    /// bucket, off by an eighth at most. `None` if nothing was counted.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let wanted = (part.clamp(0.0, 1.0) * self.count() as f64).ceil().max(1.0) as u64;
        let mut so_far = 0;
        self.buckets().find_map(|bucket| {
            so_far += bucket.count;
            (so_far >= wanted).then(|| (bucket.from + bucket.to) / 2)
        })
    }
}

/// The lowest value of a bucket.
fn lowest(bucket: u32) -> u32 {
    match bucket {
        0..4 => bucket,
        _ => (4 + bucket % 4) << (bucket / 4 - 1).min(28),
    }
}

/// The bucket of a value: `ct_bucket_of()` with so many buckets.
pub fn bucket_of(value: u32, buckets: u32) -> u32 {
    if value < 4 {
        return value;
    }
    let log = value.ilog2();
    let bucket = (log - 1) * 4 + ((value >> (log - 2)) & 3);
    bucket.min(buckets - 1)
}

#[cfg(feature = "serde")]
impl serde::Serialize for Histogram {
    /// Quantiles, and the buckets that are not empty as `[from, to, count]`; nanoseconds.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let quantile = |part| self.quantile(part).map(nanos);
        let buckets: Vec<_> = self
            .buckets()
            .map(|it| (nanos(it.from), nanos(it.to), it.count))
            .collect();
        let mut json = serializer.serialize_struct("Histogram", 5)?;
        json.serialize_field("count", &self.count())?;
        json.serialize_field("p50_ns", &quantile(0.5))?;
        json.serialize_field("p95_ns", &quantile(0.95))?;
        json.serialize_field("p99_ns", &quantile(0.99))?;
        json.serialize_field("buckets", &buckets)?;
        json.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUCKETS: u32 = 96;

    #[test]
    fn values_are_in_their_buckets() {
        let below = (0..100_000).chain((17..25).flat_map(|log| [1 << log, (1 << log) - 1]));
        for value in below {
            let bucket = bucket_of(value, BUCKETS);
            assert!(bucket < BUCKETS);
            assert!(
                lowest(bucket) <= value && value < lowest(bucket + 1),
                "{value}"
            );
        }
        assert_eq!(bucket_of(u32::MAX, BUCKETS), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_near() {
        let mut counts = vec![0; BUCKETS as usize];
        for value in 1..=10_000 {
            counts[bucket_of(value, BUCKETS) as usize] += 1;
        }
        let histogram = Histogram::new(Duration::from_micros(1), counts);
        assert_eq!(histogram.count(), 10_000);
        for part in [0.01, 0.5, 0.95, 0.99, 1.0] {
            let wanted = part * 10_000.0;
            let found = histogram.quantile(part).unwrap().as_micros() as f64;
            assert!((found - wanted).abs() <= wanted / 8.0, "{part}: {found}");
        }
        let none = Histogram::new(Duration::from_micros(1), vec![0; 96]);
        assert_eq!((none.quantile(0.5), none.count()), (None, 0));
    }
}
