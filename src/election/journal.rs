//! What a worker's slots run and ran, as a master reads it: of the living and of the dead (rules O2 to O4).
