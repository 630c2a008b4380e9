//! The hosts of a layout.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::SocketAddr;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};

use super::scalars::{Address, Kind as _, Name, Ports, Text};
use super::{HOSTS_MAX, Host};

/// All of them.
#[derive(Default)]
pub(super) struct Hosts(pub(super) BTreeMap<String, Host>);

impl<'de> Deserialize<'de> for Hosts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reads;
        impl<'de> Visitor<'de> for Reads {
            type Value = Hosts;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("hosts by name, as alpha: 10.0.0.1:7420")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Hosts, A::Error> {
                let (mut hosts, mut seen) = (BTreeMap::new(), HashMap::new());
                while let Some(Text::<Name>(name)) = map.next_key()? {
                    if hosts.contains_key(&name) {
                        return Err(de::Error::custom(format!("the host {name} is there twice: keep one")));
                    }
                    if hosts.len() == HOSTS_MAX {
                        return Err(de::Error::custom(format!("there are more than {HOSTS_MAX} hosts")));
                    }
                    let host = map.next_value_seed(OneHost {
                        name: &name,
                        seen: &mut seen,
                    })?;
                    hosts.insert(name, host);
                }
                Ok(Hosts(hosts))
            }
        }
        deserializer.deserialize_map(Reads)
    }
}

/// One host, given whose the addresses are that were seen before.
struct OneHost<'a> {
    name: &'a str,
    seen: &'a mut HashMap<SocketAddr, String>,
}

impl OneHost<'_> {
    fn take<E: de::Error>(&mut self, address: SocketAddr) -> Result<Option<SocketAddr>, E> {
        match self.seen.insert(address, self.name.to_owned()) {
            Some(other) => Err(E::custom(format!(
                "{address} is the address of host {other} already: give {} its own",
                self.name
            ))),
            None => Ok(Some(address)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for OneHost<'_> {
    type Value = Host;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Host, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for OneHost<'_> {
    type Value = Host;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address with a port, such as 10.0.0.1:7420, or keys: address, direct_ports, tags")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Host, E> {
        Ok(Host::default())
    }

    fn visit_str<E: de::Error>(mut self, text: &str) -> Result<Host, E> {
        let address = Address::read(text).map_err(E::custom)?;
        Ok(Host {
            address: self.take(address)?,
            ..Host::default()
        })
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Host, A::Error> {
        const KEYS: &[&str] = &["address", "direct_ports", "tags"];
        let mut host = Host::default();
        let mut given: Vec<String> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if given.contains(&key) {
                return Err(de::Error::custom(format!("the key \"{key}\" is there twice; keep one")));
            }
            match key.as_str() {
                "address" => host.address = map.next_value_seed(HostAddress(&mut self))?,
                "direct_ports" => host.direct_ports = Some(map.next_value::<Text<Ports>>()?.0),
                "tags" => {
                    let tags: Vec<Text<Name>> = map.next_value()?;
                    host.tags = tags.into_iter().map(|tag| tag.0).collect();
                }
                other => return Err(de::Error::unknown_field(other, KEYS)),
            }
            given.push(key);
        }
        if let (Some(address), Some(ports)) = (&host.address, &host.direct_ports)
            && ports.contains(&address.port())
        {
            return Err(de::Error::custom(format!(
                "direct_ports {}-{} of {} have the port of its address, {}: its broker listens there; take others",
                ports.start(),
                ports.end(),
                self.name,
                address.port()
            )));
        }
        Ok(host)
    }
}

/// The address of a host that is written out.
struct HostAddress<'a, 'b>(&'a mut OneHost<'b>);

impl<'de> DeserializeSeed<'de> for HostAddress<'_, '_> {
    type Value = Option<SocketAddr>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for HostAddress<'_, '_> {
    type Value = Option<SocketAddr>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Address::EXPECTED)
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let address = Address::read(text).map_err(E::custom)?;
        self.0.take(address)
    }
}
