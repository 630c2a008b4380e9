//! When a worker starts a candidate for its host's office (rule E1). PURE.
