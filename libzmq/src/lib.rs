//! The C interface of libzmq 4.3.5, in the place of the `zmq-sys` crate that `zmq` asks for.
//!
//! Owns the build of libzmq with libsodium (so that CURVE is always there), the generated declarations, and the size
//! of a context. Everything here is unsafe or a constant; safe code uses `zmq`, and `zmq-ext` for what that lacks.

use std::cell::Cell;
use std::ffi::c_void;

pub use std::os::fd::RawFd;

pub mod errno;

#[allow(missing_docs, non_camel_case_types, unreachable_pub, unused_qualifications, dead_code)]
#[allow(clippy::all, clippy::pedantic, clippy::undocumented_unsafe_blocks)]
#[rustfmt::skip]
mod ffi;

// The function below stands before the one of the same name in this list.
pub use ffi::*;

// Nothing names libsodium in Rust; the reference keeps it among the libraries to link.
use libsodium_sys as _;

thread_local! {
    /// How many sockets the next context of this thread holds. Its table costs 12 bytes and some time for each.
    static SOCKETS_MAX: Cell<i32> = const { Cell::new(ZMQ_MAX_SOCKETS_DFLT.cast_signed()) };
}

/// Says how many sockets the contexts hold that this thread makes from now on.
pub fn set_sockets_max(count: i32) {
    SOCKETS_MAX.set(count);
}

/// Creates a context that can hold as many sockets as [`set_sockets_max`] said: the `zmq` crate has no setter for
/// `ZMQ_MAX_SOCKETS`, and it must be set before the first socket.
///
/// Returns null where libzmq's own function does, with `zmq_errno` set.
///
/// # Safety
///
/// As for the C function: the context is to be ended once, by `zmq_ctx_term`.
#[must_use]
pub unsafe fn zmq_ctx_new() -> *mut c_void {
    // SAFETY: the function takes nothing and may be called at any time, from any thread.
    let context = unsafe { ffi::zmq_ctx_new() };
    if !context.is_null() {
        // A refusal would leave the default; who then has too few sockets is told when one is made.
        // SAFETY: `context` was just created and nobody else knows it.
        unsafe { zmq_ctx_set(context, ZMQ_MAX_SOCKETS.cast_signed(), SOCKETS_MAX.get()) };
    }
    context
}
