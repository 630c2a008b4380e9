//! How requests and replies are told apart on a co-process's pipes. Pure.

use bytes::{Buf as _, Bytes};

use crate::options::Framing;

/// Digits of the longest length that a netstring may have.
const LENGTH_DIGITS_MAX: usize = 19;

/// How a frame of this framing is written, for messages.
pub(super) const fn form(framing: Framing) -> &'static str {
    match framing {
        Framing::Lines => "one line",
        Framing::Netstring => "LENGTH:BYTES,",
        Framing::U32 => "four bytes of length, the highest first, and so many bytes",
    }
}

/// A request as it is written; or why it cannot be.
pub(super) fn encode(framing: Framing, mut request: Vec<u8>) -> Result<Bytes, &'static str> {
    match framing {
        Framing::Lines => {
            if request.last() == Some(&b'\n') {
                request.pop();
            }
            if request.contains(&b'\n') {
                return Err("the request has a newline inside, and its handler is framed by lines; \
                            --framing netstring and --framing u32 carry any bytes");
            }
            request.push(b'\n');
            Ok(request.into())
        }
        Framing::Netstring => {
            let mut frame = format!("{}:", request.len()).into_bytes();
            frame.append(&mut request);
            frame.push(b',');
            Ok(frame.into())
        }
        Framing::U32 => {
            let length =
                u32::try_from(request.len()).map_err(|_| "the request is too long for a length of four bytes")?;
            let mut frame = length.to_be_bytes().to_vec();
            frame.append(&mut request);
            Ok(frame.into())
        }
    }
}

/// What a piece of output was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// Of the reply's body.
    Body(Bytes),
    /// The reply ends here.
    End,
}

/// Takes replies apart, as they come.
#[derive(Debug)]
pub(super) struct Decoder {
    framing: Framing,
    state: State,
}

#[derive(Debug)]
enum State {
    /// At, or in, what comes before a body.
    Head(Vec<u8>),
    /// So many bytes of the body are missing.
    Body(u64),
}

impl Decoder {
    pub(super) const fn new(framing: Framing) -> Self {
        Self {
            framing,
            state: State::Head(Vec::new()),
        }
    }

    /// Takes the next of `input`, up to the end of a reply at most; `None` when more is needed.
    ///
    /// # Errors
    /// What does not fit the framing.
    pub(super) fn next(&mut self, input: &mut Bytes) -> Result<Option<Decoded>, String> {
        if self.framing == Framing::Lines {
            return Ok(self.next_of_line(input));
        }
        while !input.is_empty() || matches!(self.state, State::Body(0)) {
            match &mut self.state {
                State::Head(head) => {
                    let byte = input.get_u8();
                    head.push(byte);
                    if let Some(length) = length_of(self.framing, head)? {
                        self.state = State::Body(length);
                    }
                }
                State::Body(0) if self.framing == Framing::U32 => {
                    self.state = State::Head(Vec::new());
                    return Ok(Some(Decoded::End));
                }
                State::Body(0) => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let byte = input.get_u8();
                    if byte != b',' {
                        return Err(format!("a netstring that ends in {:?}, not in ','", char::from(byte)));
                    }
                    self.state = State::Head(Vec::new());
                    return Ok(Some(Decoded::End));
                }
                State::Body(left) => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                    *left -= count as u64;
                    return Ok(Some(Decoded::Body(input.split_to(count))));
                }
            }
        }
        Ok(None)
    }

    fn next_of_line(&mut self, input: &mut Bytes) -> Option<Decoded> {
        if input.is_empty() {
            return None;
        }
        match input.iter().position(|byte| *byte == b'\n') {
            Some(0) => {
                input.advance(1);
                self.state = State::Head(Vec::new());
                Some(Decoded::End)
            }
            Some(at) => Some(Decoded::Body(input.split_to(at))),
            None => Some(Decoded::Body(input.split_to(input.len()))),
        }
    }
}

/// The length that a head says, once it is whole.
fn length_of(framing: Framing, head: &[u8]) -> Result<Option<u64>, String> {
    if framing == Framing::U32 {
        return Ok(<[u8; 4]>::try_from(head)
            .ok()
            .map(|bytes| u32::from_be_bytes(bytes).into()));
    }
    let not_a_length = || {
        format!(
            "a netstring whose length begins with {:?}",
            String::from_utf8_lossy(head)
        )
    };
    match head {
        [digits @ .., b':'] if !digits.is_empty() => {
            let text = str::from_utf8(digits).map_err(|_| not_a_length())?;
            text.parse().map(Some).map_err(|_| not_a_length())
        }
        digits if digits.iter().all(u8::is_ascii_digit) && digits.len() <= LENGTH_DIGITS_MAX => Ok(None),
        _ => Err(not_a_length()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Framing; 3] = [Framing::Lines, Framing::Netstring, Framing::U32];

    /// Decodes what comes in pieces of `size`: the bodies of the replies that ended, or what was wrong.
    fn decode(framing: Framing, bytes: &[u8], size: usize) -> Result<Vec<Vec<u8>>, String> {
        let mut decoder = Decoder::new(framing);
        let (mut replies, mut body) = (Vec::new(), Vec::new());
        for piece in bytes.chunks(size) {
            let mut piece = Bytes::copy_from_slice(piece);
            while let Some(decoded) = decoder.next(&mut piece)? {
                match decoded {
                    Decoded::Body(bytes) => body.extend_from_slice(&bytes),
                    Decoded::End => replies.push(std::mem::take(&mut body)),
                }
            }
            assert!(piece.is_empty(), "all is taken");
        }
        Ok(replies)
    }

    #[test]
    fn what_is_encoded_is_decoded_in_pieces_of_any_size() {
        let bodies: [&[u8]; 4] = [b"one", b"", b"t,w:o 3:", &[b'x'; 300]];
        for framing in ALL {
            let wire: Vec<u8> = bodies
                .iter()
                .flat_map(|body| encode(framing, body.to_vec()).unwrap())
                .collect();
            for size in 1..=wire.len() {
                assert_eq!(decode(framing, &wire, size).unwrap(), bodies, "{framing:?} by {size}");
            }
        }
    }

    #[test]
    fn lines_drop_one_newline_at_the_end_and_refuse_one_inside() {
        assert_eq!(&encode(Framing::Lines, b"a\n".to_vec()).unwrap()[..], b"a\n");
        assert_eq!(&encode(Framing::Lines, b"a".to_vec()).unwrap()[..], b"a\n");
        assert_eq!(&encode(Framing::Lines, Vec::new()).unwrap()[..], b"\n");
        for inside in ["a\nb", "a\n\n", "\na"] {
            let why = encode(Framing::Lines, inside.into()).unwrap_err();
            assert!(why.contains("netstring") && why.contains("u32"), "{why}");
        }
        assert_eq!(&encode(Framing::Netstring, b"a\nb".to_vec()).unwrap()[..], b"3:a\nb,");
        assert_eq!(&encode(Framing::U32, b"a\nb".to_vec()).unwrap()[..], b"\0\0\0\x03a\nb");
    }

    #[test]
    fn what_is_no_frame_is_said() {
        for (bytes, said) in [
            (&b"hello\n"[..], "\"h\""),
            (b":", "\":\""),
            (b"3:abcd", "'d'"),
            (b"99999999999999999999:", "99999999999999999999"),
        ] {
            let why = decode(Framing::Netstring, bytes, 1).unwrap_err();
            assert!(why.contains(said), "{why}");
        }
    }

    #[test]
    fn a_long_reply_is_not_kept() {
        let mut decoder = Decoder::new(Framing::Lines);
        let mut piece = Bytes::from_static(&[b'x'; 5000]);
        assert_eq!(
            decoder.next(&mut piece).unwrap(),
            Some(Decoded::Body(Bytes::from_static(&[b'x'; 5000])))
        );
    }
}
