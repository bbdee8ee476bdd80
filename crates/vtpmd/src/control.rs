//! The control channel: what each command does in each state of the TPM.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::debug;
use zeroize::Zeroizing;

use crate::channel::{Received, Stream};
use crate::info;
use crate::protocol::{
    BAD_LOCALITY, BAD_ORDINAL, BAD_PARAMETER, BlobKind, FAIL, IO_ERROR, MAX_FIXED, Needs, Parse,
    RETRY, Request, Response, SUCCESS, needs, parse,
};
use crate::server::{Session, serve_given};

/// A message must be whole so long after its first byte, unless it carries data.
const WHOLE_MESSAGE: Duration = Duration::from_millis(500);
/// A message that carries data must be whole so long after its first byte.
const WHOLE_DATA: Duration = Duration::from_secs(30);

/// Why a connection ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The caller closed it, or was given up.
    Closed,
    /// The caller asked the process to end.
    Shutdown,
}

/// Serves a connection.
pub(crate) fn serve(mut stream: Stream, session: &Arc<Session>) -> End {
    while let Some(message) = read_message(&mut stream) {
        let Message { parse, needs, descriptor } = message;
        let then = match parse {
            Parse::Whole(Request::Shutdown) => Some(End::Shutdown),
            // Where the next message begins is not known.
            Parse::TooLarge | Parse::Incomplete => Some(End::Closed),
            Parse::Whole(_) | Parse::Bad(_) => None,
        };
        let running = session.tpm.is_running();
        let response = match parse {
            _ if needs == Needs::Running && !running || needs == Needs::Stopped && running => {
                Response::result(BAD_ORDINAL)
            }
            Parse::Whole(request) => answer(session, request, descriptor),
            Parse::Bad(result) => Response::result(result),
            Parse::TooLarge | Parse::Incomplete => Response::result(BAD_PARAMETER),
        };
        let taken = stream.answer(&response.0);
        match then {
            Some(end) => return end,
            None if taken => {}
            None => break,
        }
    }
    End::Closed
}

struct Message {
    parse: Parse,
    needs: Needs,
    descriptor: Option<OwnedFd>,
}

/// The next message, `Incomplete` if the rest of it did not come in time; absent at the end of
/// the connection.
fn read_message(stream: &mut Stream) -> Option<Message> {
    let mut buffer = Zeroizing::new(Vec::new());
    let mut chunk = Zeroizing::new(vec![0; 8 * 1024]);
    let mut descriptor = None;
    let mut started = None;
    loop {
        let limit = if buffer.len() <= MAX_FIXED { WHOLE_MESSAGE } else { WHOLE_DATA };
        let deadline = started.and_then(|started: Instant| started.checked_add(limit));
        let over = match stream.receive(&mut chunk, deadline) {
            Received::Bytes(size, given) => {
                buffer.extend_from_slice(chunk.get(..size)?);
                descriptor = given.or(descriptor);
                false
            }
            Received::TimedOut => true,
            Received::Closed => return None,
        };
        started = started.or_else(|| Some(Instant::now()));
        let parse = parse(&buffer);
        if over || parse != Parse::Incomplete {
            debug!(size = buffer.len(), over, "a control message");
            return Some(Message { parse, needs: needs(&buffer), descriptor });
        }
    }
}

fn answer(session: &Arc<Session>, request: Request, descriptor: Option<OwnedFd>) -> Response {
    let tpm = &session.tpm;
    let result = match request {
        Request::GetCapability => return Response::capabilities(),
        Request::GetConfig => {
            return Response::config(session.encrypted, tpm.encrypts_blobs());
        }
        Request::GetEstablished => return Response::established(tpm.established()),
        Request::GetStateBlob { kind, offset } => return state_blob(session, kind, offset),
        Request::GetInfo { flags, offset } => {
            return Response::info(&info::info(&session.profile, flags), offset);
        }
        Request::SetBufferSize(size) if size > 0 && tpm.is_running() => BAD_ORDINAL,
        Request::SetBufferSize(size) => {
            return Response::buffer_size(session.set_buffer_size(size));
        }
        Request::Cancel => {
            tpm.cancel();
            SUCCESS
        }
        Request::SetLocality(locality) => match session.set_locality(locality) {
            true => SUCCESS,
            false => BAD_LOCALITY,
        },
        Request::SetDataFd => set_data_descriptor(session, descriptor),
        Request::LockStorage { retries } => tpm.lock(retries),
        // A running state is used once; deleting it asks for no more than that.
        Request::Init { delete_volatile: _ } => tpm.init(),
        Request::HashStart => tpm.hash_start(),
        Request::HashData(data) => tpm.hash_data(&data),
        Request::HashEnd => tpm.hash_end(),
        Request::StoreVolatile => tpm.store_volatile(),
        Request::ResetEstablished(locality) => tpm.reset_established(locality),
        Request::SetStateBlob { kind, encrypted, data } => tpm.set_blob(kind, encrypted, data),
        Request::Stop => tpm.stop(),
        Request::Shutdown => {
            session.shut_down();
            SUCCESS
        }
    };
    Response::result(result)
}

fn state_blob(session: &Session, kind: Option<BlobKind>, offset: u32) -> Response {
    let encrypted = session.tpm.encrypts_blobs();
    match kind.map_or(Err(RETRY), |kind| session.tpm.get_blob(kind, offset)) {
        Ok(blob) => Response::blob(SUCCESS, encrypted, &blob, offset),
        Err(result) => Response::blob(result, false, &[], 0),
    }
}

/// Serves the data channel on a descriptor that the caller sent along. There is one data channel
/// of this kind at a time, and none beside the one of the command line.
fn set_data_descriptor(session: &Arc<Session>, descriptor: Option<OwnedFd>) -> u32 {
    let Some(claim) = session.claim_data_channel() else { return IO_ERROR };
    let Some(descriptor) = descriptor else { return BAD_PARAMETER };
    if serve_given(session, Stream::from(descriptor), claim) { SUCCESS } else { FAIL }
}
