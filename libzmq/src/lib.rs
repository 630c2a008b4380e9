//! The C interface of libzmq 4.3.5, in the place of the `zmq-sys` crate that `zmq` asks for.
//!
//! Owns the build of libzmq with libsodium (so that CURVE is always there), the generated declarations, and the size
//! of a context. Everything here is unsafe or a constant; safe code uses `zmq`, and `zmq-ext` for what that lacks.

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

/// Sockets that a context holds: a worker of the most slots (1,024) has two each, and as many again to spare. libzmq's
/// own limit (65,535) would cost every process, the shortest client too, 0.1 ms and half a megabyte for the table.
const SOCKETS_MAX: i32 = 4_096;

/// Creates a context that can hold 4,096 sockets instead of 1,023: the `zmq` crate has no setter for
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
        // A refusal would leave the default, which serves all but very large workers; there is nobody to tell.
        // SAFETY: `context` was just created and nobody else knows it.
        unsafe { zmq_ctx_set(context, ZMQ_MAX_SOCKETS.cast_signed(), SOCKETS_MAX) };
    }
    context
}
