//! examples/python/zhit.py, a client and a worker in another language, against zhit itself: each client with each worker.
//!
//! The tests make an environment for Python and install pyzmq into it. Where that cannot be done they say so, and pass.
//! `ZHIT_INTEROP_BYTES` says how large the large bodies are (16 MiB).

#[path = "../support/cluster.rs"]
mod cluster;

mod alone;
mod journalless;
mod pairing;
mod python;
mod scenarios;

use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Every scenario with every pairing of a client and a worker.
macro_rules! pairings {
    ($($scenario:ident),+ $(,)?) => {
        pairings!(@ rust_client_rust_worker Rust Rust $($scenario)+);
        pairings!(@ rust_client_python_worker Rust Python $($scenario)+);
        pairings!(@ python_client_rust_worker Python Rust $($scenario)+);
        pairings!(@ python_client_python_worker Python Python $($scenario)+);
    };
    (@ $pairing:ident $client:ident $worker:ident $($scenario:ident)+) => {
        mod $pairing {
            use crate::pairing::{Pairing, Side};
            $(
                #[test]
                fn $scenario() {
                    Pairing::run(Side::$client, Side::$worker, crate::scenarios::$scenario);
                }
            )+
        }
    };
}

pairings!(
    requests_in_order,
    bodies_are_exact,
    many_small_requests,
    a_handler_that_fails,
    a_deadline,
    a_large_body,
    a_broker_that_is_killed_amid_a_body,
    a_broker_that_is_killed_while_a_request_runs,
    a_worker_that_is_killed,
    a_worker_that_is_told_to_end,
    a_client_that_is_killed,
);
