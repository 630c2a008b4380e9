//! The end of a hung master: autopsy, and a kill that cannot hit anybody else (rule V3).
