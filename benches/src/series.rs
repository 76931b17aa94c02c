//! Medians and spreads of repeated measurements.

/// Blocks whose medians are compared to tell whether a series was steady.
const BLOCKS: usize = 5;

/// The value below which `part` (0 to 1) of the values lie; 0 of none.
#[must_use]
pub fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return 0.0;
    };
    let place = part * last as f64;
    let below = sorted[place.floor() as usize];
    let above = sorted[place.ceil() as usize];
    below + (above - below) * place.fract()
}

/// The middle value; 0 of none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// How far the medians of consecutive parts of a series lie apart, as a part
/// of the whole's median: what another run would probably differ by.
#[must_use]
pub fn spread(values: &[f64]) -> f64 {
    let whole = median(values);
    if values.len() < 2 || whole == 0.0 {
        return 0.0;
    }
    let size = values.len().div_ceil(BLOCKS);
    let medians: Vec<f64> = values.chunks(size).map(median).collect();
    (quantile(&medians, 1.0) - quantile(&medians, 0.0)) / whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_neighbours() {
        let values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(quantile(&values, 0.0), 1.0);
        assert_eq!(median(&values), 2.5);
        assert_eq!(quantile(&values, 1.0), 4.0);
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[7.0]), 7.0);
    }

    #[test]
    fn a_drift_is_a_spread_and_an_outlier_is_not() {
        let drift: Vec<f64> = (0..50).map(|i| 100.0 + f64::from(i)).collect();
        assert!(spread(&drift) > 0.3);
        let mut steady = vec![100.0; 50];
        steady[17] = 900.0;
        assert_eq!(spread(&steady), 0.0);
    }
}
