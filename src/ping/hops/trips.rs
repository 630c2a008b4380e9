//! The round trips of one hop, and their percentiles. Pure.

/// What was measured of one hop, in microseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Trips {
    /// A difference may be negative: the two round trips that it is of were not taken at the same moment.
    micros: Vec<i64>,
    lost: u64,
}

/// What a hop's round trips were like, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) min: i64,
    pub(super) p50: i64,
    pub(super) p90: i64,
    pub(super) p99: i64,
    pub(super) max: i64,
}

impl Trips {
    pub(super) fn measured(&mut self, micros: i64) {
        self.micros.push(micros);
    }

    pub(super) const fn lost(&mut self) {
        self.lost += 1;
    }

    pub(super) const fn count(&self) -> u64 {
        self.micros.len() as u64
    }

    pub(super) const fn lost_count(&self) -> u64 {
        self.lost
    }

    /// `None` if nothing was measured.
    pub(super) fn figures(&self) -> Option<Figures> {
        let mut sorted = self.micros.clone();
        sorted.sort_unstable();
        let at = |percent| nearest_rank(&sorted, percent);
        Some(Figures {
            min: at(0)?,
            p50: at(50)?,
            p90: at(90)?,
            p99: at(99)?,
            max: at(100)?,
        })
    }
}

/// The percentile by nearest rank: of `n` values in ascending order number ⌈`percent` × `n` / 100⌉, but at least the first;
/// the smallest, that is, which `percent` of all do not exceed. Each was measured; nothing is interpolated. `None`: there
/// are none.
pub(super) fn nearest_rank(sorted: &[i64], percent: usize) -> Option<i64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_value_of_its_rank() {
        let five = [15, 20, 35, 40, 50];
        let at = |percents: [usize; 6]| percents.map(|percent| nearest_rank(&five, percent).unwrap());
        assert_eq!(at([0, 5, 30, 40, 50, 100]), [15, 15, 20, 20, 35, 50]);
        assert_eq!(nearest_rank(&five, 81), Some(50), "4.05 of five is the fifth");
        assert_eq!(nearest_rank(&five, 80), Some(40), "four of five exactly");
    }

    #[test]
    fn none_has_no_percentile_and_one_is_all_of_them() {
        assert_eq!(nearest_rank(&[], 50), None);
        assert_eq!(
            [0, 1, 50, 99, 100].map(|percent| nearest_rank(&[7], percent)),
            [Some(7); 5]
        );
    }

    #[test]
    fn figures_are_of_all_whatever_their_order() {
        let mut trips = Trips::default();
        assert_eq!(trips.figures(), None);
        (1..=200).rev().for_each(|micros| trips.measured(micros));
        trips.lost();
        let figures = Figures {
            min: 1,
            p50: 100,
            p90: 180,
            p99: 198,
            max: 200,
        };
        assert_eq!(trips.figures(), Some(figures));
        assert_eq!((trips.count(), trips.lost_count()), (200, 1));
    }

    #[test]
    fn a_difference_may_be_negative() {
        let mut trips = Trips::default();
        for micros in [3, -2, 5] {
            trips.measured(micros);
        }
        let figures = trips.figures().unwrap();
        assert_eq!((figures.min, figures.p50, figures.max), (-2, 3, 5));
    }
}
