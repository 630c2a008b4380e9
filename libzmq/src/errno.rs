//! The error numbers that the `zmq` crate knows: the system's, and those that libzmq adds above `ZMQ_HAUSNUMERO`.

pub use libc::{
    EACCES, EADDRINUSE, EADDRNOTAVAIL, EAGAIN, EBUSY, ECONNREFUSED, EFAULT, EHOSTUNREACH, EINPROGRESS, EINTR, EINVAL,
    EMFILE, EMSGSIZE, ENAMETOOLONG, ENETDOWN, ENOBUFS, ENODEV, ENOENT, ENOMEM, ENOTCONN, ENOTSOCK, ENOTSUP, EPROTO,
    EPROTONOSUPPORT,
};

use libc::c_int;

const HAUSNUMERO: c_int = 156_384_712;
const _: () = assert!(crate::ffi::ZMQ_HAUSNUMERO == HAUSNUMERO as u32);

/// The call does not fit the socket's state (a REQ that sends twice).
pub const EFSM: c_int = HAUSNUMERO + 51;
/// The socket's type cannot be used over this transport.
pub const ENOCOMPATPROTO: c_int = HAUSNUMERO + 52;
/// The context was terminated.
pub const ETERM: c_int = HAUSNUMERO + 53;
/// There is no I/O thread to do the work.
pub const EMTHREAD: c_int = HAUSNUMERO + 54;

// Where a system has no such error number, libzmq answers with one of its own.

/// `ENOTSUP` of a system without it.
pub const ENOTSUP_ALT: c_int = HAUSNUMERO + 1;
/// `EPROTONOSUPPORT` of a system without it.
pub const EPROTONOSUPPORT_ALT: c_int = HAUSNUMERO + 2;
/// `ENOBUFS` of a system without it.
pub const ENOBUFS_ALT: c_int = HAUSNUMERO + 3;
/// `ENETDOWN` of a system without it.
pub const ENETDOWN_ALT: c_int = HAUSNUMERO + 4;
/// `EADDRINUSE` of a system without it.
pub const EADDRINUSE_ALT: c_int = HAUSNUMERO + 5;
/// `EADDRNOTAVAIL` of a system without it.
pub const EADDRNOTAVAIL_ALT: c_int = HAUSNUMERO + 6;
/// `ECONNREFUSED` of a system without it.
pub const ECONNREFUSED_ALT: c_int = HAUSNUMERO + 7;
/// `EINPROGRESS` of a system without it.
pub const EINPROGRESS_ALT: c_int = HAUSNUMERO + 8;
/// `ENOTSOCK` of a system without it.
pub const ENOTSOCK_ALT: c_int = HAUSNUMERO + 9;
/// `EMSGSIZE` of a system without it.
pub const EMSGSIZE_ALT: c_int = HAUSNUMERO + 10;
