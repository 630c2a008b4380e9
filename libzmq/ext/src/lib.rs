//! What libzmq can do and the `zmq` crate does not show, as safe functions.
//!
//! Owns every unsafe block between the program and libzmq. It keeps nothing and decides nothing: a function here is one
//! call of libzmq, with its arguments made safe.

mod pow;

use std::ffi::{c_int, c_void};
use std::mem::{align_of, size_of};

use bytes::Bytes;
use zmq::{Context, Error, Message, PollEvents, PollItem, Socket};
use zmq_sys::{zmq_msg_t, zmq_pollitem_t};

/// Up to this size a body is copied when it is sent: the two allocations of a shared message cost more.
pub const SEND_COPY_BYTES_MAX: usize = 512;

/// Up to this size a body is copied when it is received.
///
/// It is the size of libzmq's receive buffer (`in_batch_size`, config.hpp). A smaller message may be a window into that
/// buffer, and would keep all of it alive; a larger one always has memory of its own.
pub const RECV_COPY_BYTES_MAX: usize = 8192;

/// What the shared heap grows by: what a client takes from its start to its end.
const HEAP_STEP_BYTES: c_int = 384 * 1024;

/// Free memory at the heap's end beyond this goes back to the system.
const HEAP_TRIM_BYTES: c_int = 16 * 1024 * 1024;

/// Blocks from this size on are mapped each by itself. To set the threshold above fixes this one, too, which else grows with
/// what is let go of; and a chunk of a body, mapped, filled and unmapped, costs 64 page faults.
const MAPPED_BYTES_MIN: c_int = 4 * 1024 * 1024;

/// `ZMQ_ZAP_ENFORCE_DOMAIN`, which zmq.h 4.3.5 shows to draft builds only although every build obeys it (options.cpp).
const ZAP_ENFORCE_DOMAIN: c_int = 93;

/// Creates a context that holds so many sockets. Its table takes 12 bytes for each, and the time to fill them.
#[must_use]
pub fn context(sockets_max: u16) -> Context {
    zmq_sys::set_sockets_max(sockets_max.into());
    let context = Context::new();
    zmq_sys::set_sockets_max(zmq_sys::ZMQ_MAX_SOCKETS_DFLT.cast_signed());
    context
}

/// Has all threads of this process allocate from one heap, which grows in large steps and never shrinks: for one that
/// lives for milliseconds. The C library would set up a heap for the thread that uses libzmq and for each of libzmq's
/// own, and give memory back that it soon needs again. Call it before the first thread is spawned.
pub fn share_one_heap() {
    for (parameter, value) in [
        (libc::M_ARENA_MAX, 1),
        (libc::M_TOP_PAD, HEAP_STEP_BYTES),
        (libc::M_TRIM_THRESHOLD, HEAP_TRIM_BYTES),
        (libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN),
    ] {
        // A refusal leaves the default, which is only slower.
        // SAFETY: the function takes two numbers and may be called at any time.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Sends `bytes` as one frame without copying it, unless it is small.
///
/// `flags` are those of `zmq_msg_send` (`zmq::DONTWAIT`, `zmq::SNDMORE`). libzmq lets go of the bytes when the frame is
/// written, or dropped; that may happen on its I/O thread, so their owner's `drop` must be quick.
///
/// Over `inproc` the receiver is given this very memory: it must not write to the message it received.
/// [`recv_bytes`] and [`into_bytes`] cannot. (The same holds without this crate when a PUB socket feeds two
/// subscribers over `inproc`.)
///
/// # Errors
///
/// Those of `zmq_msg_send`: `EAGAIN`, `EHOSTUNREACH`, `EINTR`, `ETERM`, `EFSM`, `ENOTSUP`. The bytes are let go of then,
/// too; clone them (it is cheap) where a second try is wanted.
pub fn send_bytes(socket: &Socket, bytes: Bytes, flags: i32) -> Result<(), Error> {
    if bytes.len() <= SEND_COPY_BYTES_MAX {
        return socket.send(Message::from(&bytes[..]), flags);
    }
    let (data, size) = (bytes.as_ptr(), bytes.len());
    let owner = Box::into_raw(Box::new(bytes));
    let mut message = zmq_msg_t::default();
    // SAFETY: `data` points to `size` bytes that stay in place and are kept alive by `owner` until `release` is called
    // with it, once. libzmq only reads what it sends; the cast away from const is the C interface's.
    let rc = unsafe {
        zmq_sys::zmq_msg_init_data(
            &raw mut message,
            data.cast_mut().cast(),
            size,
            Some(release),
            owner.cast(),
        )
    };
    if rc == -1 {
        let error = last_error();
        // SAFETY: a message that was not initialised has not taken `owner` over, and will not call `release`.
        unsafe { release(data.cast_mut().cast(), owner.cast()) };
        return Err(error);
    }
    // SAFETY: `message` was initialised above; the socket lives as long as the reference to it, and is not used by
    // another thread meanwhile, because `Socket` is not `Sync`.
    let rc = unsafe { zmq_sys::zmq_msg_send(&raw mut message, raw(socket), flags) };
    if rc == -1 {
        let error = last_error();
        // SAFETY: a failed send leaves the message as it was, so it is still ours to close; this calls `release`.
        unsafe { zmq_sys::zmq_msg_close(&raw mut message) };
        return Err(error);
    }
    Ok(())
}

/// Receives one frame, without copying it unless it is small. Whether more frames follow is `socket.get_rcvmore()`.
///
/// # Errors
///
/// Those of `zmq_msg_recv`: `EAGAIN`, `EINTR`, `ETERM`, `EFSM`, `ENOTSUP`.
pub fn recv_bytes(socket: &Socket, flags: i32) -> Result<Bytes, Error> {
    socket.recv_msg(flags).map(into_bytes)
}

/// The body of a received frame, without copying it unless it is small. Ask the message for its properties
/// (`get_more`, `gets("User-Id")`) first: they do not survive.
#[must_use]
pub fn into_bytes(message: Message) -> Bytes {
    if message.len() <= RECV_COPY_BYTES_MAX {
        Bytes::copy_from_slice(&message)
    } else {
        Bytes::from_owner(Body(message))
    }
}

/// Names the peer of the next `connect` or accepted raw connection, for a ROUTER or STREAM socket that wants to address
/// it before it has spoken (`ZMQ_CONNECT_ROUTING_ID`).
///
/// # Errors
///
/// `EINVAL` when the id is empty or longer than 255 bytes, or the socket is of another type.
pub fn set_connect_routing_id(socket: &Socket, id: &[u8]) -> Result<(), Error> {
    set_option(socket, zmq_sys::ZMQ_CONNECT_ROUTING_ID.cast_signed(), id)
}

/// Refuses peers unless a ZAP handler answers for the socket's domain (`ZMQ_ZAP_ENFORCE_DOMAIN`).
///
/// Without it, CURVE accepts every client as long as no handler is bound. Set it before `bind`, together with
/// `set_zap_domain`.
///
/// # Errors
///
/// `ETERM` when the context was terminated.
pub fn set_zap_enforce_domain(socket: &Socket, enforce: bool) -> Result<(), Error> {
    set_option(socket, ZAP_ENFORCE_DOMAIN, &c_int::from(enforce).to_ne_bytes())
}

/// A received message as the owner of a `Bytes`: read-only, because `Message` would also give its memory mutably.
struct Body(Message);

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Lets go of the bytes of a message; libzmq calls it once, on whatever thread closes the message last.
///
/// # Safety
///
/// `owner` must come from `Box::<Bytes>::into_raw` and not be used again.
unsafe extern "C" fn release(_data: *mut c_void, owner: *mut c_void) {
    // SAFETY: the caller's promise. `Bytes` is `Send`, so any thread may drop it.
    drop(unsafe { Box::from_raw(owner.cast::<Bytes>()) });
}

fn set_option(socket: &Socket, option: c_int, value: &[u8]) -> Result<(), Error> {
    // SAFETY: the socket is alive and on this thread (see `send_bytes`); libzmq copies the value during the call.
    let rc = unsafe { zmq_sys::zmq_setsockopt(raw(socket), option, value.as_ptr().cast(), value.len()) };
    if rc == -1 {
        return Err(last_error());
    }
    Ok(())
}

/// The C socket behind a `Socket`. `Socket::as_mut_ptr` would ask for `&mut`, which a caller that polls cannot give.
fn raw(socket: &Socket) -> *mut c_void {
    const {
        assert!(size_of::<PollItem>() == size_of::<zmq_pollitem_t>());
        assert!(align_of::<PollItem>() == align_of::<zmq_pollitem_t>());
    }
    let item = socket.as_poll_item(PollEvents::empty());
    // SAFETY: `PollItem` is `repr(C)` and laid out as `zmq_pollitem_t`: `zmq::poll` hands arrays of it to libzmq as
    // such. Both are plain data, and `item` outlives the read.
    unsafe { (*(&raw const item).cast::<zmq_pollitem_t>()).socket }
}

/// What the last call of libzmq on this thread failed with.
fn last_error() -> Error {
    // SAFETY: the function takes nothing and may be called at any time, from any thread.
    Error::from_raw(unsafe { zmq_sys::zmq_errno() })
}
