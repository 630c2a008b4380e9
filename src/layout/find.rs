//! Where the layout is, and which of its hosts this is.

use std::fs::File;
use std::io::Read as _;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};

use super::read::parse_all;
use super::{LAYOUT_BYTES_MAX, Layout, LayoutError, parse};
use crate::options::Hosts;
use crate::protocol::mesh::LayoutDigest;

/// The file's name where nobody names one.
const NAME: &str = "zhit/layout.yaml";

/// Which layout is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice<'a> {
    /// `--layout` or `$ZHIT_LAYOUT`.
    pub file: Option<&'a Path>,
    /// `--cluster`.
    pub cluster: Option<&'a str>,
}

/// A layout and where it was read, by its whole path.
pub type Found = (PathBuf, Layout);

/// The layout that is chosen, or else the user's, or else the machine's; `None`: there is none, or, where nobody has named
/// one, none of this cluster.
///
/// # Errors
/// [`LayoutError`].
pub fn find(choice: Choice<'_>) -> Result<Option<Found>, LayoutError> {
    let file = match choice.file.filter(|file| !file.as_os_str().is_empty()) {
        Some(file) => file.to_owned(),
        None => match usual_places().into_iter().find(|place| place.is_file()) {
            Some(file) => file,
            None => return Ok(None),
        },
    };
    let text = read_file(&file)?;
    let name = file.display().to_string();
    let layout = match choice.cluster {
        Some(cluster) if choice.file.is_none() => parse_all(&name, &text)?.remove(cluster),
        cluster => Some(parse(&name, &text, cluster)?),
    };
    // A process that is started from elsewhere has to find it, too.
    let file = std::path::absolute(&file).unwrap_or(file);
    Ok(layout.map(|layout| (file, layout)))
}

/// `$XDG_CONFIG_HOME` or `~/.config`, then `/etc`.
fn usual_places() -> Vec<PathBuf> {
    let config = std::env::var_os("XDG_CONFIG_HOME").filter(|dir| Path::new(dir).is_absolute());
    let config = config.map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty())?;
        Some(Path::new(&home).join(".config"))
    });
    let own = config.map(|config| config.join(NAME));
    own.into_iter().chain([Path::new("/etc").join(NAME)]).collect()
}

/// Reads a file that is no longer than a layout may be.
///
/// # Errors
/// [`LayoutError`].
pub fn read_file(path: &Path) -> Result<String, LayoutError> {
    let failed = |source| LayoutError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(LAYOUT_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    let whole = |what: String| LayoutError::Whole {
        file: path.display().to_string(),
        what,
    };
    if bytes.len() as u64 > LAYOUT_BYTES_MAX {
        return Err(whole(format!(
            "it is longer than {LAYOUT_BYTES_MAX} bytes, the most of a layout: is it the right file?"
        )));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        whole(format!("it is no UTF-8 text from byte {at} on: save it as UTF-8"))
    })
}

impl Layout {
    /// Tells it from others, so that hosts notice when they were told different things. Another version of this program
    /// may tell the same layout from itself.
    pub fn digest(&self) -> LayoutDigest {
        xxhash_rust::xxh3::xxh3_128(format!("{self:?}").as_bytes()).to_be_bytes()
    }

    /// The hosts that have an address.
    pub fn addresses(&self) -> Hosts {
        let hosts = self.hosts.iter();
        let addresses = hosts.filter_map(|(name, host)| Some((name.clone(), host.address?)));
        Hosts {
            addresses: addresses.collect(),
            layout: self.digest(),
        }
    }

    /// The host whose address is this machine's; the first by name.
    pub fn host_here(&self) -> Option<&str> {
        // An address that a socket can be bound to is local; nothing is sent.
        let is_local = |address: &std::net::SocketAddr| UdpSocket::bind((address.ip(), 0)).is_ok();
        let mut hosts = self.hosts.iter();
        let found = hosts.find(|(_, host)| host.address.as_ref().is_some_and(is_local));
        found.map(|(name, _)| name.as_str())
    }
}
