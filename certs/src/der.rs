//! The few lines of DER needed to turn PKCS#8 keys into the forms kubeadm writes.
//!
//! It reads and writes tag-length-value triples of keys made here a moment ago and nothing else:
//! certificates are read by x509-parser.

use zeroize::Zeroizing;

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
/// `[0]`, explicit: the curve in RFC 5915's `ECPrivateKey`.
pub(crate) const CONTEXT_0: u8 = 0xa0;
/// `[1]`, explicit: the public key in RFC 5915's `ECPrivateKey`.
pub(crate) const CONTEXT_1: u8 = 0xa1;

/// Splits the first value off `input` when it has the tag: its content and what follows it.
pub(crate) fn take(tag: u8, input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = input.split_first()?;
    if first != tag {
        return None;
    }
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = if length < 0x80 {
        (usize::from(length), rest)
    } else {
        // Long form: the low bits count the octets of the length. Four are more than any key has.
        let octets = usize::from(length & 0x7f);
        if octets == 0 || octets > 4 {
            return None;
        }
        let (digits, rest) = rest.split_at_checked(octets)?;
        let length = digits.iter().fold(0usize, |sum, digit| (sum << 8) | usize::from(*digit));
        (length, rest)
    };
    rest.split_at_checked(length)
}

/// Writes one value. The buffer is wiped on drop, because it may hold a private key.
pub(crate) fn put(tag: u8, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Zeroizing::new(Vec::with_capacity(length + 6));
    out.push(tag);
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let digits = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
        out.push(0x80 | digits.len() as u8);
        out.extend_from_slice(digits);
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_survive_the_round_trip() {
        for length in [0usize, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let content = vec![7u8; length];
            let written = put(OCTET_STRING, &[&content, &[]]);
            let (read, rest) = take(OCTET_STRING, &written).unwrap();
            assert_eq!((read, rest), (content.as_slice(), &[][..]), "length {length}");
        }
    }

    #[test]
    fn cut_or_foreign_input_is_refused() {
        let written = put(OCTET_STRING, &[&[1, 2, 3]]);
        assert!(take(SEQUENCE, &written).is_none());
        for end in 0..written.len() {
            assert!(take(OCTET_STRING, &written[..end]).is_none(), "cut at {end}");
        }
    }
}
