//! Taking bytes apart and putting them together. Integers are big-endian.

/// What is wrong with the form of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// It ends too early.
    #[error("it ends too early")]
    Truncated,
    /// It has bytes after its end.
    #[error("{0} bytes follow its end")]
    Trailing(usize),
    /// A field is longer than allowed.
    #[error("{what} is {length} long, {limit} is allowed")]
    TooLong {
        /// The field.
        what: &'static str,
        /// Its length or count.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// A field has a value that this version does not know.
    #[error("{0} has a value that is not defined")]
    Value(&'static str),
}

/// Reads a message from its beginning.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    /// A count of two bytes, at most `limit`.
    pub(crate) fn count(&mut self, what: &'static str, limit: usize) -> Result<usize, Malformed> {
        let length = usize::from(self.u16()?);
        if length > limit {
            return Err(Malformed::TooLong { what, length, limit });
        }
        Ok(length)
    }

    /// A field with its length in two bytes before it, at most `limit`.
    pub(crate) fn sized(&mut self, what: &'static str, limit: usize) -> Result<Vec<u8>, Malformed> {
        let length = self.count(what, limit)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(taken.to_vec())
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Nothing may be left.
    pub(crate) fn finish(&self) -> Result<(), Malformed> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(Malformed::Trailing(left)),
        }
    }
}

/// Writes a message from its beginning.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.0.extend(value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend(value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend(value.to_be_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    /// A count in two bytes. A count that does not fit is written as the largest, which no
    /// reader takes: what is counted here is bounded far below.
    pub(crate) fn u16_count(&mut self, count: usize) {
        self.u16(u16::try_from(count).unwrap_or(u16::MAX));
    }

    /// A field with its length in two bytes before it.
    pub(crate) fn sized(&mut self, bytes: &[u8]) {
        self.u16_count(bytes.len());
        self.bytes(bytes);
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}
