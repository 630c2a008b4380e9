//! The room of unsafe code: mapped files, and what runs between fork and exec. Each block tells why it is sound.

pub mod spawn;
