//! Messages to frames and back.
