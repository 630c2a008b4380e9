//! Whether a host's master hangs: suspicion, ballots and quorum (rules V1, V2, V4, A3). PURE.
