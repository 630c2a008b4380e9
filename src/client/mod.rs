//! The client: leases a slot for a Hit, sends requests, delivers replies.

pub mod hit;
