//! The single values of a layout, each checked where it stands.

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};

use crate::options::{DURATION_MAX, DURATION_MIN, INTERVAL_MIN};
use crate::protocol::ids::is_name;
use crate::protocol::limits::{NAME_BYTES_MAX, TTL_MAX};

/// Ports that the kernel hands out by itself (ip(7): `ip_local_port_range`), where they cannot be asked for.
const EPHEMERAL_PORTS: RangeInclusive<u16> = 32_768..=60_999;

/// A kind of text: what is expected, and how it is read.
pub(super) trait Kind {
    /// What comes of it.
    type Value;
    /// What is expected, for messages.
    const EXPECTED: &'static str;
    /// Reads it, or says what is wrong and what to try.
    fn read(text: &str) -> Result<Self::Value, String>;
}

/// A text of a kind.
pub(super) struct Text<K: Kind>(pub(super) K::Value);

impl<'de, K: Kind> Deserialize<'de> for Text<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reads<K>(PhantomData<K>);
        impl<K: Kind> Visitor<'_> for Reads<K> {
            type Value = Text<K>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(K::EXPECTED)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<K>, E> {
                K::read(text).map(Text).map_err(E::custom)
            }
            // A bare number: the kind says what is missing.
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Text<K>, E> {
                K::read(&number.to_string()).map(Text).map_err(E::custom)
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Text<K>, E> {
                K::read(&number.to_string()).map(Text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Reads(PhantomData))
    }
}

/// A name of a cluster, host, pool or tag.
pub(super) struct Name;

impl Kind for Name {
    type Value = String;
    const EXPECTED: &'static str = "a name";
    fn read(text: &str) -> Result<String, String> {
        if is_name(text) {
            return Ok(text.to_owned());
        }
        Err(format!(
            "{text:?} is no name: take 1 to {NAME_BYTES_MAX} letters, digits, '.', '_' or '-', the first no '.' or '-'"
        ))
    }
}

/// A duration with its unit, of at least, and at most.
fn duration(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    if text.trim().bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(format!("{text} has no unit: write 5s, 250ms or 2m"));
    }
    let span = humantime::parse_duration(text)
        .map_err(|why| format!("{text:?} is no duration ({why}): write 5s, 250ms or 2m"))?;
    let show = humantime::format_duration;
    if span < least {
        return Err(format!("{text} is too short: the least is {}", show(least)));
    }
    if span > most {
        return Err(format!("{text} is too long: the most is {}", show(most)));
    }
    Ok(span)
}

/// A duration that is not zero.
pub(super) struct Span;

impl Kind for Span {
    type Value = Duration;
    const EXPECTED: &'static str = "a duration such as 5s, 250ms or 2m";
    fn read(text: &str) -> Result<Duration, String> {
        duration(text, DURATION_MIN, DURATION_MAX)
    }
}

/// A duration that may be zero.
pub(super) struct SpanOrZero;

impl Kind for SpanOrZero {
    type Value = Duration;
    const EXPECTED: &'static str = "a duration such as 5s, 250ms, 2m or 0s";
    fn read(text: &str) -> Result<Duration, String> {
        duration(text, Duration::ZERO, DURATION_MAX)
    }
}

/// A period of heartbeats.
pub(super) struct Interval;

impl Kind for Interval {
    type Value = Duration;
    const EXPECTED: &'static str = "a duration such as 1s or 250ms";
    fn read(text: &str) -> Result<Duration, String> {
        duration(text, INTERVAL_MIN, DURATION_MAX)
    }
}

/// How long a Hit outlives its client's silence.
pub(super) struct Ttl;

impl Kind for Ttl {
    type Value = Duration;
    const EXPECTED: &'static str = "a duration such as 15s or 10m";
    fn read(text: &str) -> Result<Duration, String> {
        duration(text, DURATION_MIN, TTL_MAX)
    }
}

/// A host's address with its port.
pub(super) struct Address;

impl Kind for Address {
    type Value = SocketAddr;
    const EXPECTED: &'static str = "an address with a port, such as 10.0.0.1:7420";
    fn read(text: &str) -> Result<SocketAddr, String> {
        let address: SocketAddr = text.parse().map_err(|_| {
            format!("{text:?} is no address with a port: write it in digits, as 10.0.0.1:7420 or [fd00::1]:7420")
        })?;
        if address.ip().is_unspecified() {
            return Err(format!(
                "{} is every address at once: name the one that other hosts reach",
                address.ip()
            ));
        }
        port(address.port()).map(|_| address)
    }
}

fn port(port: u16) -> Result<u16, String> {
    if port == 0 {
        return Err("port 0 is no port: take one below 32768, such as 7420".to_owned());
    }
    if EPHEMERAL_PORTS.contains(&port) {
        let (first, last) = (EPHEMERAL_PORTS.start(), EPHEMERAL_PORTS.end());
        return Err(format!(
            "port {port} is one of those that the kernel hands out by itself ({first} to {last}): take one below {first}, \
             such as 7420"
        ));
    }
    Ok(port)
}

/// A range of ports.
pub(super) struct Ports;

impl Kind for Ports {
    type Value = RangeInclusive<u16>;
    const EXPECTED: &'static str = "a range of ports, such as 7430-7499";
    fn read(text: &str) -> Result<RangeInclusive<u16>, String> {
        let no_range = || format!("{text:?} is no range of ports: write the first and the last, as 7430-7499");
        let (first, last) = text.split_once('-').ok_or_else(no_range)?;
        let read = |number: &str| number.trim().parse::<u16>().map_err(|_| no_range());
        let (first, last) = (read(first)?, read(last)?);
        if first > last {
            return Err(format!("{text:?} ends before it begins: write the lower port first"));
        }
        port(first)?;
        port(last)?;
        if first < *EPHEMERAL_PORTS.start() && last > *EPHEMERAL_PORTS.end() {
            port(*EPHEMERAL_PORTS.start())?;
        }
        Ok(first..=last)
    }
}

/// A whole number from `LEAST` to `MOST`.
pub(super) struct Count<const LEAST: u32, const MOST: u32>(pub(super) u32);

impl<'de, const LEAST: u32, const MOST: u32> Deserialize<'de> for Count<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reads<const LEAST: u32, const MOST: u32>;
        impl<const LEAST: u32, const MOST: u32> Visitor<'_> for Reads<LEAST, MOST> {
            type Value = Count<LEAST, MOST>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number from {LEAST} to {MOST}")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
                let fits = u32::try_from(number)
                    .ok()
                    .filter(|number| (LEAST..=MOST).contains(number));
                fits.map(Count).ok_or_else(|| {
                    E::custom(format!(
                        "{number} is out of range: give a whole number from {LEAST} to {MOST}"
                    ))
                })
            }
        }
        deserializer.deserialize_any(Reads)
    }
}
