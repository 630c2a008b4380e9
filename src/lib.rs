//! zhit leases one worker thread, somewhere in a cluster, to a client for a whole unit of work.

pub mod broker;
pub mod client;
pub mod protocol;
pub mod worker;
