//! The pools of a layout.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use super::scalars::{Count, Kind, Name, Span, SpanOrZero, Text};
use super::{Limits, POOLS_MAX, Pool};
use crate::builtin::Builtin;
use crate::bytecount::Bytecount;
use crate::options::{Framing, Handler, SLOTS_MAX};
use crate::protocol::limits::{FRAME_MAX_BYTES_MAX, WARM_MAX};

/// All of them.
#[derive(Default)]
pub(super) struct Pools(pub(super) BTreeMap<String, Pool>);

impl<'de> Deserialize<'de> for Pools {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reads;
        impl<'de> Visitor<'de> for Reads {
            type Value = Pools;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("pools by name, each with its handler")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pools, A::Error> {
                let mut pools = BTreeMap::new();
                while let Some(Text::<Name>(name)) = map.next_key()? {
                    if pools.contains_key(&name) {
                        return Err(de::Error::custom(format!("the pool {name} is there twice: keep one")));
                    }
                    if pools.len() == POOLS_MAX {
                        return Err(de::Error::custom(format!("there are more than {POOLS_MAX} pools")));
                    }
                    let pool = map.next_value::<Written>()?;
                    pools.insert(name, pool.into());
                }
                Ok(Pools(pools))
            }
        }
        deserializer.deserialize_map(Reads)
    }
}

/// A pool as it is written.
#[derive(Deserialize)]
#[serde(try_from = "Keys")]
struct Written {
    handler: Handler,
    keys: Keys,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "keys, among them handler: [PROGRAM]")]
struct Keys {
    handler: Program,
    #[serde(default)]
    slots: Option<Count<1, SLOTS_MAX>>,
    #[serde(default)]
    framing: Option<Text<FramingName>>,
    #[serde(default)]
    warm: Option<Count<0, WARM_MAX>>,
    #[serde(default)]
    grace: Option<Text<SpanOrZero>>,
    #[serde(default)]
    tags: Vec<Text<Name>>,
    #[serde(default)]
    limits: LimitKeys,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "keys: timeout, frame_max")]
struct LimitKeys {
    #[serde(default)]
    timeout: Option<Text<Span>>,
    #[serde(default)]
    frame_max: Option<Text<FrameBytes>>,
}

impl TryFrom<Keys> for Written {
    type Error = String;

    fn try_from(keys: Keys) -> Result<Self, String> {
        let framing = keys.framing.as_ref().map(|framing| framing.0);
        let warm = keys.warm.as_ref().map(|warm| warm.0);
        let handler = match (&keys.handler.0, framing) {
            (Handler::Builtin(builtin), Some(_)) => {
                return Err(format!(
                    "a builtin needs no framing: leave \"framing\" out, or name a program instead of {builtin}"
                ));
            }
            (_, None) if warm.is_some() => {
                return Err("\"warm\" is for co-processes: give \"framing\", too, or leave it out".to_owned());
            }
            (_, None) if keys.limits.frame_max.is_some() => {
                return Err(
                    "\"frame_max\" is for co-processes: give \"framing\", too, or leave it out; other handlers take \
                     requests of any size"
                        .to_owned(),
                );
            }
            (handler, framing) => handler.clone().framed(framing, warm.unwrap_or(0)),
        };
        let handler = match (handler, &keys.limits.frame_max) {
            (
                Handler::Coprocess {
                    program, framing, warm, ..
                },
                Some(most),
            ) => Handler::Coprocess {
                program,
                framing,
                warm,
                frame_max: most.0,
            },
            (handler, _) => handler,
        };
        Ok(Self { handler, keys })
    }
}

impl From<Written> for Pool {
    fn from(written: Written) -> Self {
        let Written { handler, keys } = written;
        Self {
            handler,
            slots: keys.slots.map(|slots| slots.0),
            grace: keys.grace.map(|grace| grace.0),
            tags: keys.tags.into_iter().map(|tag| tag.0).collect(),
            limits: Limits {
                timeout: keys.limits.timeout.map(|timeout| timeout.0),
                frame_max: keys.limits.frame_max.map(|most| most.0),
            },
        }
    }
}

/// Bytes of one request to a co-process.
struct FrameBytes;

impl Kind for FrameBytes {
    type Value = usize;
    const EXPECTED: &'static str = "a number of bytes such as 4MiB or 65536";
    fn read(text: &str) -> Result<usize, String> {
        let Bytecount(bytes) = text.parse().map_err(|why| format!("{text:?}: {why}"))?;
        let fits = (1..=FRAME_MAX_BYTES_MAX)
            .contains(&bytes)
            .then(|| usize::try_from(bytes).ok());
        fits.flatten().ok_or_else(|| {
            format!("{text} is out of range: a co-process takes from 1 byte to {FRAME_MAX_BYTES_MAX} bytes at once")
        })
    }
}

struct FramingName;

impl Kind for FramingName {
    type Value = Framing;
    const EXPECTED: &'static str = "lines, netstring or u32";
    fn read(text: &str) -> Result<Framing, String> {
        let found = Framing::ALL.into_iter().find(|framing| framing.name() == text);
        found.ok_or_else(|| format!("{text:?} is no framing: write lines, netstring or u32"))
    }
}

/// What a pool runs: words, a text for the shell, or a builtin.
struct Program(Handler);

impl<'de> Deserialize<'de> for Program {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reads;
        impl<'de> Visitor<'de> for Reads {
            type Value = Program;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a program and its arguments, as [sort, -n]; a text for /bin/sh -c; or builtin: NAME")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Program, E> {
                if text.trim().is_empty() {
                    return Err(E::custom(
                        "there is no command in it: write for example 'tr a-z A-Z | sort'",
                    ));
                }
                Ok(Program(Handler::Shell(text.into())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut words: A) -> Result<Program, A::Error> {
                let mut command: Vec<OsString> = Vec::new();
                while let Some(Word(word)) = words.next_element()? {
                    command.push(word.into());
                }
                if command.first().is_none_or(|program| program.is_empty()) {
                    return Err(de::Error::custom(
                        "there is no program in it: write for example [sort, -n]",
                    ));
                }
                Ok(Program(Handler::Command(command)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Program, A::Error> {
                #[derive(Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Named {
                    builtin: Text<BuiltinName>,
                }
                let named = Named::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(Program(Handler::Builtin(named.builtin.0)))
            }
        }
        deserializer.deserialize_any(Reads)
    }
}

/// A word of a command; numbers need no quotes.
struct Word(String);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reads;
        impl Visitor<'_> for Reads {
            type Value = Word;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a word of a command, in quotes if it is not plainly one")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Word, E> {
                Ok(Word(text.to_owned()))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Word, E> {
                Ok(Word(number.to_string()))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Word, E> {
                Ok(Word(number.to_string()))
            }
        }
        deserializer.deserialize_any(Reads)
    }
}

struct BuiltinName;

impl Kind for BuiltinName {
    type Value = Builtin;
    const EXPECTED: &'static str = "the name of a builtin";
    fn read(text: &str) -> Result<Builtin, String> {
        let found = Builtin::ALL.into_iter().find(|builtin| builtin.name() == text);
        let all: Vec<&str> = Builtin::ALL.iter().map(|builtin| builtin.name()).collect();
        found.ok_or_else(|| format!("{text:?} is no builtin; there are: {}", all.join(", ")))
    }
}
