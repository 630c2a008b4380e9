//! How many requests are still to be asked.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Requests that may still be asked.
pub enum Budget {
    /// So many.
    Left(u64),
    /// Until this is set, at the end of stdin.
    Until(Arc<AtomicBool>),
}

impl Budget {
    /// So many requests; 0: until stdin ends.
    pub fn new(requests: u64) -> Self {
        if requests > 0 {
            return Self::Left(requests);
        }
        let ended = Arc::new(AtomicBool::new(false));
        let set = Arc::clone(&ended);
        std::thread::spawn(move || {
            let mut byte = [0];
            while matches!(std::io::stdin().read(&mut byte), Ok(1)) {}
            set.store(true, Ordering::Relaxed);
        });
        Self::Until(ended)
    }

    pub fn is_spent(&self) -> bool {
        match self {
            Self::Left(left) => *left == 0,
            Self::Until(ended) => ended.load(Ordering::Relaxed),
        }
    }

    /// Whether one more may be asked.
    pub fn take(&mut self) -> bool {
        let may = !self.is_spent();
        if let Self::Left(left) = self {
            *left = left.saturating_sub(1);
        }
        may
    }
}
