//! Times of single requests, and what is printed of them.

use std::time::Duration;

#[derive(Default)]
pub struct Samples {
    nanos: Vec<u64>,
}

impl Samples {
    pub fn add(&mut self, took: Duration) {
        self.nanos.push(took.as_nanos().try_into().unwrap_or(u64::MAX));
    }

    /// The same object as raw/samples.h.
    pub fn print(mut self, took: Duration) {
        self.nanos.sort_unstable();
        let last = self.nanos.len().saturating_sub(1) as f64;
        let micros = |part: f64| {
            self.nanos
                .get((part * last) as usize)
                .map_or(0.0, |nanos| *nanos as f64 / 1e3)
        };
        let (requests, seconds) = (self.nanos.len(), took.as_secs_f64());
        println!(
            "{{\"requests\": {requests}, \"seconds\": {seconds:.6}, \"per_second\": {:.1}, \"p50_us\": {:.1}, \
             \"p99_us\": {:.1}, \"max_us\": {:.1}}}",
            requests as f64 / seconds,
            micros(0.5),
            micros(0.99),
            micros(1.0),
        );
    }
}
