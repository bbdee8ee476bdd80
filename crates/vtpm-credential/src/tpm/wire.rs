//! Reading and writing: big-endian, unaligned, without padding (Part 1, clause 8).

use crate::error::{Error, Result};

/// A cursor over bytes that somebody else made.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, which should be `what`.
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { bytes, what }
    }

    pub(crate) fn malformed(&self) -> Error {
        Error::Malformed { what: self.what }
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (head, tail) = self.bytes.split_at_checked(count).ok_or_else(|| self.malformed())?;
        self.bytes = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, tail) = self.bytes.split_first_chunk().ok_or_else(|| self.malformed())?;
        self.bytes = tail;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// A `TPM2B_`: a size in 16 bits, and so many bytes.
    pub(crate) fn sized(&mut self) -> Result<&'a [u8]> {
        let size = self.u16()?;
        self.take(usize::from(size))
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// Refuses what is left over.
    pub(crate) fn finish(&self) -> Result<()> {
        if self.bytes.is_empty() { Ok(()) } else { Err(self.malformed()) }
    }
}

/// Appends big-endian integers and sized buffers.
pub(crate) trait Put {
    fn put_u16(&mut self, value: u16);
    fn put_u32(&mut self, value: u32);
    /// A `TPM2B_`; nothing that this crate writes reaches 64 KiB.
    fn put_sized(&mut self, bytes: &[u8]);
}

impl Put for Vec<u8> {
    fn put_u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_sized(&mut self, bytes: &[u8]) {
        let size = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        self.put_u16(size);
        self.extend_from_slice(bytes.get(..usize::from(size)).unwrap_or(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_short_or_too_long_is_malformed() {
        let mut reader = Reader::new(&[0, 2, 7, 8, 9], "a thing");
        assert_eq!(reader.sized().unwrap(), [7, 8]);
        assert!(reader.u16().unwrap_err().to_string().contains("a thing is malformed"));
        assert!(reader.finish().is_err());
        reader.u8().unwrap();
        reader.finish().unwrap();
    }
}
