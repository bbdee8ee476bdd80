//! The swtpm control protocol: numbers and messages, no input or output.
//!
//! A request is a big-endian 32-bit command and its arguments; a response is a big-endian 32-bit
//! result and its values. An error is the result alone, except where a function says otherwise.

use zeroize::Zeroizing;

/// `TPM_SUCCESS`.
pub(crate) const SUCCESS: u32 = 0;
/// `TPM_BAD_PARAMETER`: the arguments have the wrong length or value.
pub(crate) const BAD_PARAMETER: u32 = 0x03;
/// `TPM_FAIL`.
pub(crate) const FAIL: u32 = 0x09;
/// `TPM_BAD_ORDINAL`: an unknown command, or one that does not fit the TPM's state.
pub(crate) const BAD_ORDINAL: u32 = 0x0a;
/// `TPM_IOERROR`.
pub(crate) const IO_ERROR: u32 = 0x1f;
/// `TPM_BAD_LOCALITY`.
pub(crate) const BAD_LOCALITY: u32 = 0x3d;
/// `TPM_RETRY`: there is no such state blob.
pub(crate) const RETRY: u32 = 0x800;

/// All capability bits of a TPM 2: one for each command, and the command header.
const CAPABILITIES: u32 = 0x1_ffff;
/// `PTM_INIT_FLAG_DELETE_VOLATILE`.
const INIT_DELETE_VOLATILE: u32 = 1;
/// `PTM_STATE_FLAG_ENCRYPTED`: the blob is encrypted with a migration key.
const BLOB_IS_ENCRYPTED: u32 = 2;
/// Bytes before the data of a blob that is asked for.
const BLOB_HEADER: usize = 16;
/// Most bytes of a state blob.
pub(crate) const MAX_BLOB: usize = 512 * 1024;
/// Most bytes of a message without its blob or D-RTM data.
pub(crate) const MAX_FIXED: usize = 24;
/// The smallest size of commands and responses that can be set.
pub(crate) const MIN_BUFFER_SIZE: u32 = 0xaf8;
/// The largest, which is the one that is set at first.
pub(crate) const MAX_BUFFER_SIZE: u32 = 4096;
/// Most characters of one answer to `GetInfo`.
const INFO_CHUNK: usize = 3060;

/// A state blob's kind.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum BlobKind {
    /// What survives the loss of power.
    Permanent,
    /// The running TPM.
    Volatile,
    /// Of TPM 1.2; never there.
    SaveState,
}

/// A control command with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    GetCapability,
    Init {
        delete_volatile: bool,
    },
    Shutdown,
    GetEstablished,
    SetLocality(u8),
    HashStart,
    HashData(Zeroizing<Vec<u8>>),
    HashEnd,
    Cancel,
    StoreVolatile,
    ResetEstablished(u8),
    /// The kind is absent when the number stands for none.
    GetStateBlob {
        kind: Option<BlobKind>,
        offset: u32,
    },
    SetStateBlob {
        kind: BlobKind,
        encrypted: bool,
        data: Zeroizing<Vec<u8>>,
    },
    Stop,
    GetConfig,
    SetDataFd,
    SetBufferSize(u32),
    GetInfo {
        flags: u64,
        offset: u32,
    },
    LockStorage {
        retries: u32,
    },
}

/// Which state of the TPM a command needs; checked before its arguments.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    Nothing,
    Running,
    Stopped,
}

/// What is to be done with the bytes received so far.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parse {
    /// The message is not whole yet.
    Incomplete,
    /// All of the bytes are this request.
    Whole(Request),
    /// All of the bytes are a message that gets this result.
    Bad(u32),
    /// As `Bad`, but more of the message is on its way: the connection must end.
    TooLarge,
}

/// Which state of the TPM the command that `bytes` begins with needs.
pub(crate) fn needs(bytes: &[u8]) -> Needs {
    match bytes.first_chunk().map(|command| u32::from_be_bytes(*command)) {
        Some(0x04 | 0x06..=0x0c) => Needs::Running,
        Some(0x0d) => Needs::Stopped,
        _ => Needs::Nothing,
    }
}

/// Parses `bytes`, all that arrived since the last message.
///
/// The protocol does not say how long a message is, except where it carries data: a message ends
/// with the read. Callers may send a whole structure where only its first byte counts (QEMU sends
/// four bytes for a locality), so those commands take surplus bytes and the others refuse them.
pub(crate) fn parse(bytes: &[u8]) -> Parse {
    let mut cursor = Cursor(bytes);
    let Some(command) = cursor.u32() else { return Parse::Incomplete };
    match parse_arguments(command, &mut cursor) {
        Some(Ok(_)) if !cursor.0.is_empty() && !takes_surplus(command) => Parse::Bad(BAD_PARAMETER),
        Some(Ok(request)) => Parse::Whole(request),
        Some(Err(refusal)) => refusal,
        None => Parse::Incomplete,
    }
}

fn takes_surplus(command: u32) -> bool {
    matches!(command, 0x01 | 0x05 | 0x0b | 0x0c | 0x10..=0x13)
}

/// The request; absent while arguments have not arrived.
fn parse_arguments(command: u32, cursor: &mut Cursor<'_>) -> Option<Result<Request, Parse>> {
    Some(Ok(match command {
        0x01 => Request::GetCapability,
        0x02 => Request::Init { delete_volatile: cursor.u32()? & INIT_DELETE_VOLATILE != 0 },
        0x03 => Request::Shutdown,
        0x04 => Request::GetEstablished,
        0x05 => Request::SetLocality(cursor.u8()?),
        0x06 => Request::HashStart,
        0x07 => return hash_data(cursor),
        0x08 => Request::HashEnd,
        0x09 => Request::Cancel,
        0x0a => Request::StoreVolatile,
        0x0b => Request::ResetEstablished(cursor.u8()?),
        0x0c => {
            let (_flags, kind, offset) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
            Request::GetStateBlob { kind: BlobKind::of(kind), offset }
        }
        0x0d => return set_state_blob(cursor),
        0x0e => Request::Stop,
        0x0f => Request::GetConfig,
        0x10 => Request::SetDataFd,
        0x11 => Request::SetBufferSize(cursor.u32()?),
        0x12 => {
            let (flags, offset, _pad) = (cursor.u64()?, cursor.u32()?, cursor.u32()?);
            Request::GetInfo { flags, offset }
        }
        0x13 => Request::LockStorage { retries: cursor.u32()? },
        _ => return Some(Err(Parse::Bad(BAD_ORDINAL))),
    }))
}

fn hash_data(cursor: &mut Cursor<'_>) -> Option<Result<Request, Parse>> {
    let size = cursor.u32()? as usize;
    if size > MAX_BLOB {
        return Some(Err(Parse::TooLarge));
    }
    Some(Ok(Request::HashData(cursor.take(size)?.to_vec().into())))
}

fn set_state_blob(cursor: &mut Cursor<'_>) -> Option<Result<Request, Parse>> {
    let (flags, kind, size) = (cursor.u32()?, cursor.u32()?, cursor.u32()? as usize);
    if size > MAX_BLOB {
        return Some(Err(Parse::TooLarge));
    }
    let data = cursor.take(size)?.to_vec().into();
    let Some(kind) = BlobKind::of(kind) else { return Some(Err(Parse::Bad(BAD_PARAMETER))) };
    let encrypted = flags & BLOB_IS_ENCRYPTED != 0;
    Some(Ok(Request::SetStateBlob { kind, encrypted, data }))
}

impl BlobKind {
    fn of(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Permanent,
            2 => Self::Volatile,
            3 => Self::SaveState,
            _ => return None,
        })
    }
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
    }
}

/// A response under construction. It may hold a TPM's state, so it is wiped when dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response(pub(crate) Zeroizing<Vec<u8>>);

impl Response {
    /// A result alone.
    pub(crate) fn result(result: u32) -> Self {
        Self(result.to_be_bytes().to_vec().into())
    }

    fn with(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Answers `GetCapability`.
    pub(crate) fn capabilities() -> Self {
        Self::result(SUCCESS).with(CAPABILITIES)
    }

    /// Answers `GetEstablished`.
    pub(crate) fn established(bit: bool) -> Self {
        Self::result(SUCCESS).with(u32::from(bit) << 24)
    }

    /// Answers `GetConfig`: whether the state's file, and its blobs, are encrypted.
    pub(crate) fn config(file: bool, blobs: bool) -> Self {
        Self::result(SUCCESS).with(u32::from(file) | u32::from(blobs) << 1)
    }

    /// Answers `SetBufferSize`: size, smallest and largest.
    pub(crate) fn buffer_size(size: u32) -> Self {
        Self::result(SUCCESS).with(size).with(MIN_BUFFER_SIZE).with(MAX_BUFFER_SIZE)
    }

    /// Answers `GetStateBlob` with what follows `offset`; an error has the header too.
    pub(crate) fn blob(result: u32, encrypted: bool, blob: &[u8], offset: u32) -> Self {
        let rest = blob.get(offset as usize..).unwrap_or(&[]);
        // Both lengths count what follows the offset. They fit: a state is far below 4 GiB.
        let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        let flags = if encrypted { BLOB_IS_ENCRYPTED } else { 0 };
        let head = Self::result(result).with(flags).with(length).with(length);
        let mut bytes = Vec::with_capacity(BLOB_HEADER.saturating_add(rest.len()));
        bytes.extend_from_slice(&head.0);
        bytes.extend_from_slice(rest);
        Self(bytes.into())
    }

    /// Answers `GetInfo` with what follows `offset` of a text that ends with NUL.
    pub(crate) fn info(json: &str, offset: u32) -> Self {
        let mut text = json.as_bytes().to_vec();
        text.push(0);
        let Some(rest) = text.get(offset as usize..).filter(|rest| rest.len() > 1) else {
            return Self::result(BAD_PARAMETER);
        };
        let chunk = rest.get(..INFO_CHUNK).unwrap_or(rest);
        let mut response = Self::result(SUCCESS).with(text.len() as u32).with(chunk.len() as u32);
        response.0.extend_from_slice(chunk);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(words: &[u32], data: &[u8]) -> Vec<u8> {
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        bytes.extend_from_slice(data);
        bytes
    }

    #[test]
    fn a_message_in_pieces_is_incomplete_until_its_last_byte() {
        let message = message(&[0x0d, 0, 1, 3], b"abc");
        for length in 0..message.len() {
            assert_eq!(parse(&message[..length]), Parse::Incomplete, "{length}");
        }
        let data = b"abc".to_vec().into();
        let kind = BlobKind::Permanent;
        let request = Request::SetStateBlob { kind, encrypted: false, data };
        assert_eq!(parse(&message), Parse::Whole(request));
    }

    #[test]
    fn surplus_bytes_are_taken_where_callers_send_whole_structures_and_refused_elsewhere() {
        let locality = parse(&message(&[0x05], &[3, 0, 0, 0]));
        assert_eq!(locality, Parse::Whole(Request::SetLocality(3)));
        assert_eq!(parse(&message(&[0x01], b"more")), Parse::Whole(Request::GetCapability));
        for words in [&[0x02, 0, 0][..], &[0x03, 0], &[0x04, 0], &[0x0e, 0], &[0x0f, 0]] {
            assert_eq!(parse(&message(words, &[])), Parse::Bad(BAD_PARAMETER), "{words:?}");
        }
        assert_eq!(parse(&message(&[0x07, 2], b"abc")), Parse::Bad(BAD_PARAMETER));
        assert_eq!(parse(&message(&[0x0d, 0, 1, 2], b"abc")), Parse::Bad(BAD_PARAMETER));
    }

    #[test]
    fn an_unknown_command_is_a_bad_ordinal() {
        assert_eq!(parse(&[0, 0, 0, 0x20]), Parse::Bad(BAD_ORDINAL));
        assert_eq!(parse(&[0; 4]), Parse::Bad(BAD_ORDINAL));
    }

    #[test]
    fn sizes_beyond_the_bounds_are_refused_before_the_data_arrives() {
        assert_eq!(parse(&message(&[0x07, u32::MAX], &[])), Parse::TooLarge);
        assert_eq!(parse(&message(&[0x0d, 0, 1, MAX_BLOB as u32 + 1], &[])), Parse::TooLarge);
    }

    #[test]
    fn a_blob_response_always_has_its_header_and_counts_from_the_offset() {
        assert_eq!(Response::blob(FAIL, false, &[], 0).0.len(), BLOB_HEADER);
        let response = Response::blob(SUCCESS, true, b"abcd", 1);
        assert_eq!(response.0[4..8], [0, 0, 0, 2], "encrypted");
        assert_eq!(response.0[8..], *b"\0\0\0\x03\0\0\0\x03bcd");
        assert_eq!(Response::blob(SUCCESS, false, b"abcd", 5).0[8..], [0; 8]);
    }

    #[test]
    fn an_info_ends_with_nul_and_an_offset_must_lie_within() {
        assert_eq!(Response::info("{}", 0).0[4..], *b"\0\0\0\x03\0\0\0\x03{}\0");
        assert_eq!(Response::info("{}", 1).0[8..], *b"\0\0\0\x02}\0");
        assert_eq!(Response::info("{}", 2), Response::result(BAD_PARAMETER));
        assert_eq!(Response::info("{}", u32::MAX), Response::result(BAD_PARAMETER));
    }
}
