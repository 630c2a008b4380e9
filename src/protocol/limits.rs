//! Every limit and default of the protocol, once, with its unit in its name and its reason beside it.

use std::time::Duration;

/// Version of the protocol in every frame's third byte.
pub const PROTOCOL_VERSION: u8 = 1;

/// Most body bytes of one DATA packet: 256 KiB, so that a heartbeat never waits long behind bulk (rule S4).
pub const CHUNK_BYTES_MAX: usize = 256 * 1024;

/// Body bytes up to this ride in the header frame: below it a second frame costs more than the copy.
pub const INLINE_BYTES_MAX: usize = 8 * 1024;

/// Most segments of one DATA packet; bounds the table that a receiver must walk.
pub const SEGMENTS_MAX: usize = 4096;

/// Most bytes of a header frame: the largest segment table, its inline body and the fixed part fit with room to spare.
/// A larger frame is dropped unread, and libzmq is told not to accept one beyond `FRAME_BYTES_MAX`.
pub const HEADER_BYTES_MAX: usize = 1024 * 1024;

/// Most bytes of any frame on the wire (`ZMQ_MAXMSGSIZE`).
pub const FRAME_BYTES_MAX: usize = HEADER_BYTES_MAX;

/// What every message of a Hit costs beyond its bytes, so that a flood of empty requests is bounded too (rule S2).
pub const MESSAGE_COST_BYTES: u64 = 64;

/// Credit that one direction of a Hit gives its sender: bounds what a process holds for it, and is several times what
/// the fastest local link has in flight.
pub const WINDOW_BYTES: u64 = 4 * 1024 * 1024;

/// Credit that a client may use before it has heard from its slot; every slot grants at least this much.
pub const FIRST_CREDIT_BYTES: u64 = 64 * 1024;

/// An acknowledgement is sent at once when credit has grown by this much since the last one.
pub const ACK_EVERY_BYTES: u64 = WINDOW_BYTES / 4;

/// A received packet is acknowledged at the latest after this, if nothing that goes the other way carried it.
pub const ACK_DELAY: Duration = Duration::from_millis(20);

/// Data is sent again when the other side is heard this long after the last sending and still lacks it. Routes lose
/// nothing while they live, so this is a last resort, far above any round trip.
pub const RESEND_AFTER: Duration = Duration::from_secs(1);

/// Period of heartbeats (`interval`).
pub const INTERVAL: Duration = Duration::from_secs(1);

/// Heartbeats that may be missed before a peer is suspected (`liveness`).
pub const LIVENESS: u32 = 3;

/// How long silence is tolerated, while work is outstanding, before "hung" (`patience`).
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How long a Hit outlives its silent client (`ttl`); clients keep alive at a third of it.
pub const TTL: Duration = Duration::from_secs(15);

/// Ended Hits that one worker's journal keeps, for all its slots together: four megabytes.
pub const JOURNAL_ENDED_MAX: usize = 65_536;

/// Ended Hits that a slot keeps at least, and at most: seconds of the shortest requests.
pub const JOURNAL_ENDED_MIN: usize = 256;
/// See [`JOURNAL_ENDED_MIN`].
pub const JOURNAL_ENDED_SLOT_MAX: usize = 16_384;

/// How long an elected broker stays when no member and no client is there (rule E5): the next command finds it.
pub const UNNEEDED_AFTER: Duration = Duration::from_secs(5);

/// Longest ttl that is accepted: a day. A larger one on the wire is taken as this.
pub const TTL_MAX: Duration = Duration::from_secs(24 * 3600);

/// How long a client waits for a broker and a slot unless told otherwise (`--wait`).
pub const WAIT: Duration = Duration::from_secs(5);

/// What a process that was asked to end grants the work it runs (`--grace`).
pub const GRACE: Duration = Duration::from_secs(10);

/// How long a one-shot process may spend at its end on bytes that its sockets still hold.
pub const LINGER: Duration = Duration::from_millis(500);

/// Most bytes of a host, pool or cluster name.
pub const NAME_BYTES_MAX: usize = 64;

/// Most bytes of an explanation that travels to a person (a note, a CLOSED's reason).
pub const NOTE_BYTES_MAX: usize = 4096;

/// Most bytes of a line that a handler says beside its reply; what is longer is cut.
pub const CONTROL_LINE_BYTES_MAX: usize = 1024;

/// Most bytes of a request to a co-process, which is delivered whole (rule S4), unless its pool's layout says otherwise.
pub const FRAME_MAX_BYTES: usize = 1024 * 1024;

/// The most that a layout may say: a slot holds a request in memory, and libc's pipes take it in small pieces.
pub const FRAME_MAX_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Most co-processes that a slot keeps started ahead.
pub const WARM_MAX: u32 = 64;

/// How long a Hit is served before its client connects to the slot itself: many are over by then.
pub const DIRECT_AFTER: Duration = Duration::from_millis(1);

/// How long an end that changes its route waits for the acknowledgement of what is under way by the old one: far above a
/// round trip through a broker that runs. One that has just died or stopped must not hold the Hit up.
pub const TURN_WITHIN: Duration = Duration::from_millis(100);

/// Bytes of replies after which a client connects to the slot though it has no more to ask: more are to be expected.
pub const DIRECT_AFTER_BYTES: u64 = CHUNK_BYTES_MAX as u64;

/// Most silences, one after the other, that lengthen a client's pause before it asks the direct route again.
pub const DIRECT_FAILURES_MAX: u32 = 20;

/// How long one looks for what is expected at once before one sleeps: about as long as it takes to be woken on a machine
/// whose processors idle, so that looking in vain at most doubles that.
pub const LOOK_FOR: Duration = Duration::from_micros(50);

/// How long a host may be without a broker before that counts: one that died is replaced in milliseconds.
pub const MASTER_GAP: Duration = Duration::from_millis(250);

/// How long a connection to another host may take: one that is there answers within a round trip.
pub const CONNECT_GAP: Duration = Duration::from_millis(500);

/// So many ports of its host's range a slot tries, once, before it does without one: each try costs a few system calls,
/// and its first Hit waits for them.
pub const DIRECT_PORTS_TRIED_MAX: usize = 64;

/// Most direct endpoints named by OPENED, and most bytes of each.
pub const ENDPOINTS_MAX: usize = 8;
/// Most bytes of one endpoint.
pub const ENDPOINT_BYTES_MAX: usize = 256;

/// Most hosts that one FULL names.
pub const HINTS_MAX: usize = 256;

/// Most workers that one PONG lists; their number is told all the same.
pub const PONG_WORKERS_MAX: usize = 4096;

/// Most OPENs that wait at one broker for a slot, about a kilobyte each. Beyond it OPEN is answered FULL.
pub const QUEUE_MAX: usize = 16_384;

/// Most peers (slots and workers) that one broker registers.
pub const REGISTERED_MAX: usize = 65_536;

/// Most keys of ended Hits that a broker remembers, so that a late repetition of an OPEN does not run again.
pub const ENDED_KEYS_MAX: usize = 65_536;

/// Most bytes of a way back: two routing ids with their lengths, and room.
pub const RETURN_PATH_BYTES_MAX: usize = 64;

/// Most members listed in one message of a broadcast: at 79 bytes each they fit a header frame.
pub const MEMBERS_LISTED_MAX: usize = 8192;

/// Connections of other hosts that a broker remembers; the one that was silent longest makes room.
pub const CALLERS_MAX: usize = 32_768;

/// Most pools that one NEWS tells of; a layout has no more.
pub const POOLS_LISTED_MAX: usize = 1000;

/// Broadcasts that wait to be run by one worker, the one that runs included; what comes beyond is refused.
pub const BROADCASTS_PENDING_MAX: usize = 256;

/// Broadcasts that one worker remembers, so as not to run them again; the oldest that it has answered make room.
pub const BROADCASTS_KEPT_MAX: usize = 4096;

/// How long an answer is kept that nobody has thanked for: two ttls (rule B2).
pub const BROADCAST_KEPT: Duration = Duration::from_secs(30);

/// News that a broker tells others in an interval in which nothing changes: in a large cluster each of them hears it less
/// often.
pub const MESH_NEWS_PER_INTERVAL: u32 = 3;

/// Broadcasts that a worker's journal names; one place of them stays free.
pub const BROADCASTS_JOURNALLED: usize = 64;

/// Members that have gone whose fate a broker remembers.
pub const FATES_MAX: usize = 8192;

/// Most bytes of a broadcast's request, and of each of its replies; what is more wants a Hit.
pub const BROADCAST_BYTES_MAX: usize = FRAME_BYTES_MAX;

/// Longest routing id that is taken from a peer; libzmq's own have five bytes.
pub const ROUTING_ID_BYTES_MAX: usize = 15;

/// Longest Unix socket path that the kernel takes, without its final zero.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Messages that one turn of a loop takes from its socket before it looks at anything else.
pub const MESSAGES_PER_TURN_MAX: usize = 1000;

/// The same of one of many connections to other hosts.
pub const HOST_MESSAGES_PER_TURN_MAX: usize = 64;

/// Most members that an issuer asks its brokers about at a time, four times a second: of more each is asked about less
/// often, so that answers to that do not crowd out the members' own.
pub const CHECKED_AT_ONCE_MAX: usize = 2048;

/// Receive high-water mark of every socket, in messages: holds back a flooder by TCP push-back on that peer alone.
pub const RECEIVE_MESSAGES_MAX: i32 = 1000;

/// How much longer each next rank waits before it starts a candidate: a new process takes about as long to reach the
/// lock. Two that start at once do no harm, since the lock has one winner (rule E1).
pub const CANDIDATE_STAGGER: Duration = Duration::from_millis(15);

/// Longest pause between two candidates of one worker. The pause doubles up to it, so that a broker that cannot start
/// costs a process a second and never a flood of them.
pub const CANDIDATE_BACKOFF_MAX: Duration = Duration::from_secs(1);

/// A candidate that has neither taken the office nor given up after this long is stuck, and ended by its starter.
pub const CANDIDATE_PATIENCE: Duration = Duration::from_secs(5);

/// Longest time for which a reservation of the office holds others back (rule E3).
pub const RESERVATION_MAX: Duration = Duration::from_secs(2);

/// How often a reserved office is looked at: its process may end before the reservation does.
pub const RESERVED_LOOK_EVERY: Duration = Duration::from_millis(20);

/// How much longer each next rank waits before it kills, once there is quorum. Killing twice does no harm; this spares
/// all but one the autopsy.
pub const KILL_STAGGER: Duration = Duration::from_millis(20);

/// How long the end of a killed master is waited for. Only a process that is stuck in the kernel takes longer.
pub const KILL_WAIT: Duration = Duration::from_secs(1);
