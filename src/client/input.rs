//! Where requests come from: arguments, lines of stdin, or stdin as one request. Never more is read than credit allows.

use std::collections::VecDeque;
use std::io;

use bytes::Bytes;
use rustix::buffer::spare_capacity;

use crate::hit::Hit;
use crate::options::Input;
use crate::protocol::limits::CHUNK_BYTES_MAX;
use crate::protocol::time::Moment;

/// Below this much room stdin is not read: credit opens in larger steps, and small reads make small packets.
const READ_ROOM_MIN: usize = 16 * 1024;

/// The source of a client's requests.
#[derive(Debug)]
pub(super) enum Source {
    /// Each a request, not yet written.
    Arguments(VecDeque<Bytes>),
    /// Each line of stdin.
    Lines(Reading),
    /// All of stdin.
    Whole(Reading),
}

/// How far stdin was read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Read and not yet written.
    block: Bytes,
    /// Some of the current request was written.
    begun: bool,
    ended: bool,
}

impl Source {
    /// The source that the command line asks for.
    pub(super) fn new(input: Input) -> Self {
        match input {
            Input::Arguments(requests) => Self::Arguments(requests.into_iter().map(Bytes::from).collect()),
            Input::Lines => Self::Lines(Reading::default()),
            Input::Stdin => Self::Whole(Reading::default()),
        }
    }

    /// How many requests there are, if that is known.
    pub(super) fn count(&self) -> Option<u64> {
        match self {
            Self::Arguments(requests) => Some(requests.len() as u64),
            Self::Lines(_) => None,
            Self::Whole(_) => Some(1),
        }
    }

    /// Writes what it has, as far as there is room; returns how many bytes. When no more will come the Hit is told.
    pub(super) fn pump(&mut self, now: Moment, hit: &mut Hit) -> u64 {
        match self {
            Self::Arguments(requests) => pump_arguments(requests, now, hit),
            Self::Lines(reading) => reading.pump_lines(now, hit),
            Self::Whole(reading) => reading.pump_whole(now, hit),
        }
    }

    /// Whether stdin should be read now.
    pub(super) fn wants_stdin(&self, hit: &Hit) -> bool {
        match self {
            Self::Arguments(_) => false,
            Self::Lines(reading) | Self::Whole(reading) => {
                !reading.ended && reading.block.is_empty() && hit.room().is_some_and(|room| room >= READ_ROOM_MIN)
            }
        }
    }

    /// Reads stdin once; to be called when it has something to read.
    pub(super) fn read_stdin(&mut self, hit: &Hit) -> io::Result<()> {
        let (Self::Lines(reading) | Self::Whole(reading)) = self else {
            return Ok(());
        };
        let room = hit.room().unwrap_or(0).min(CHUNK_BYTES_MAX);
        let mut buffer = Vec::with_capacity(room);
        let count = loop {
            match rustix::io::read(rustix::stdio::stdin(), spare_capacity(&mut buffer)) {
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                result => break result?,
            }
        };
        reading.ended = count == 0;
        // A small read must not pin a large buffer.
        reading.block = if count < room / 4 {
            Bytes::copy_from_slice(&buffer)
        } else {
            Bytes::from(buffer)
        };
        Ok(())
    }
}

fn pump_arguments(requests: &mut VecDeque<Bytes>, now: Moment, hit: &mut Hit) -> u64 {
    let mut written = 0;
    while let Some(request) = requests.front_mut() {
        let before = request.len();
        let ends = hit.write_part(now, request);
        written += (before - request.len()) as u64;
        if !ends {
            return written;
        }
        requests.pop_front();
    }
    hit.complete();
    written
}

impl Reading {
    fn pump_whole(&mut self, now: Moment, hit: &mut Hit) -> u64 {
        if hit.answered() >= hit.seq() {
            // The handler has answered without reading on: the rest of stdin is nobody's.
            hit.complete();
            return 0;
        }
        let room = hit.room();
        let part = self.block.split_to(self.block.len().min(room.unwrap_or(0)));
        let written = part.len() as u64;
        if !part.is_empty() {
            hit.write(now, part, false);
        }
        if self.ended && self.block.is_empty() && room.is_some() {
            hit.write(now, Bytes::new(), true);
            hit.complete();
        }
        written
    }

    fn pump_lines(&mut self, now: Moment, hit: &mut Hit) -> u64 {
        let mut written = 0;
        while !self.block.is_empty() {
            let Some(room) = hit.room() else { return written };
            let newline = self.block.iter().position(|byte| *byte == b'\n');
            let length = newline.unwrap_or(self.block.len()).min(room);
            let line = self.block.split_to(length);
            let ends = newline == Some(length);
            if ends {
                let _ = self.block.split_to(1);
            } else if line.is_empty() {
                return written;
            }
            written += line.len() as u64;
            hit.write(now, line, ends);
            self.begun = !ends;
        }
        if self.ended && hit.room().is_some() {
            if self.begun {
                hit.write(now, Bytes::new(), true);
                self.begun = false;
            }
            hit.complete();
        }
        written
    }
}
