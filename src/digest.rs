//! SHA-256 of files, read piece by piece.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use sha2::{Digest, Sha256};

/// Bytes hashed at a time.
const PIECE: usize = 1 << 20;

/// The SHA-256 of a file from byte `start` on, in hexadecimal digits.
pub(crate) fn sha256(path: &Path, start: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            n => hasher.update(&piece[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_sha256() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("x");
        // FIPS 180-4's examples: "abc", and a million times "a", which takes more than one piece.
        std::fs::write(&path, "abc").expect("written");
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(&path, 0).expect("read"), abc);
        std::fs::write(&path, "a".repeat(1_000_000)).expect("written");
        let million = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
        assert_eq!(sha256(&path, 0).expect("read"), million);
        std::fs::write(&path, "12abc").expect("written");
        assert_eq!(sha256(&path, 2).expect("read"), abc);
    }
}
