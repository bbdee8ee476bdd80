//! As much of DER (ITU-T X.690) as certificates need. The reader takes lengths of more octets than
//! necessary, as other TPMs do; the writer is exact.

/// `SEQUENCE`.
pub(super) const SEQUENCE: u8 = 0x30;
/// `INTEGER`.
pub(super) const INTEGER: u8 = 0x02;
/// `BIT STRING`.
pub(super) const BIT_STRING: u8 = 0x03;
/// `OCTET STRING`.
pub(super) const OCTET_STRING: u8 = 0x04;
/// `NULL`.
pub(super) const NULL: u8 = 0x05;
/// `OBJECT IDENTIFIER`.
pub(super) const OID: u8 = 0x06;

/// The constructed context-specific tag of a number below 31.
pub(super) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// A cursor over elements that follow each other.
pub(super) struct Der<'a>(&'a [u8]);

/// An element.
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    /// With tag and length.
    pub(super) whole: &'a [u8],
    pub(super) content: &'a [u8],
}

impl<'a> Der<'a> {
    /// A cursor at the start of `bytes`.
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether all elements were read.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next element; absent when there is none, or when it is malformed.
    pub(super) fn element(&mut self) -> Option<Element<'a>> {
        let start = self.0;
        let (tag, rest) = start.split_first()?;
        // Tags of more than one octet don't occur.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (length, rest) = length(rest)?;
        let (content, rest) = rest.split_at_checked(length)?;
        let whole = start.get(..start.len().checked_sub(rest.len())?)?;
        self.0 = rest;
        Some(Element { tag: *tag, whole, content })
    }

    /// The next element, if it has this tag and is the last one.
    pub(super) fn only(mut self, tag: u8) -> Option<Element<'a>> {
        self.element().filter(|element| element.tag == tag && self.is_empty())
    }
}

fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [short @ ..=0x7f, rest @ ..] => Some((usize::from(*short), rest)),
        [0x81, length, rest @ ..] => Some((usize::from(*length), rest)),
        [0x82, high, low, rest @ ..] => {
            Some((usize::from(u16::from_be_bytes([*high, *low])), rest))
        }
        _ => None,
    }
}

/// Tag and length of an element; nothing here is longer than 65,535 octets.
pub(super) fn header(tag: u8, length: usize) -> Vec<u8> {
    let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    match (high, low) {
        (0, ..=0x7f) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    }
}

/// An element of these parts.
pub(super) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length = parts.iter().fold(0usize, |sum, part| sum.saturating_add(part.len()));
    let mut out = header(tag, length);
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

/// `SEQUENCE` of these elements.
pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, parts)
}

/// `INTEGER` of a number that is not negative, big-endian.
pub(super) fn integer(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    let number = number.get(zeros..).unwrap_or_default();
    match number.first() {
        Some(..=0x7f) => element(INTEGER, &[number]),
        // A zero, or one more octet so that the number is not negative.
        _ => element(INTEGER, &[&[0], number]),
    }
}

/// `BIT STRING` of whole octets.
pub(super) fn bit_string(parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    element(BIT_STRING, &[&[0], &content])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_as_they_are_written() {
        for size in [0, 1, 127, 128, 255, 256, 1000] {
            let content = vec![7; size];
            let bytes = element(OCTET_STRING, &[&content]);
            let read = Der::new(&bytes).only(OCTET_STRING).unwrap();
            assert_eq!((read.whole, read.content), (&bytes[..], &content[..]));
        }
    }

    #[test]
    fn malformed_elements_are_none() {
        for bytes in [
            &[][..],
            &[0x30],
            &[0x30, 1],
            &[0x30, 0x80],
            &[0x30, 0x81],
            &[0x30, 0x82, 1],
            &[0x30, 0x83, 0, 0, 0],
            &[0x30, 0x82, 0xff, 0xff, 0],
            &[0x1f, 0],
            &[0xbf, 0x21, 0],
        ] {
            assert!(Der::new(bytes).element().is_none(), "{bytes:02x?}");
        }
    }

    #[test]
    fn integers_are_short_and_not_negative() {
        assert_eq!(integer(&[]), [2, 1, 0]);
        assert_eq!(integer(&[0, 0]), [2, 1, 0]);
        assert_eq!(integer(&[0, 0x7f]), [2, 1, 0x7f]);
        assert_eq!(integer(&[0x80]), [2, 2, 0, 0x80]);
    }
}
