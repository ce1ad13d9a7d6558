//! SHA-256 of what is read piece by piece.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

/// Bytes hashed at a time.
const PIECE: usize = 1 << 20;

/// The SHA-256 of all that a reader still has, in hexadecimal digits.
pub(crate) fn sha256(mut bytes: impl Read) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        match bytes.read(&mut piece)? {
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
        // FIPS 180-4's examples: "abc", and a million times "a", which takes more than one piece.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(&b"abc"[..]).expect("read"), abc);
        let million = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
        assert_eq!(sha256(&[b'a'; 1_000_000][..]).expect("read"), million);
        let mut rest = &b"12abc"[..];
        rest.read_exact(&mut [0; 2]).expect("two bytes");
        assert_eq!(sha256(rest).expect("read"), abc);
    }
}
