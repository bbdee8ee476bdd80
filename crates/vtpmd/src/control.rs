//! The control channel: one caller after another, each of whose messages is answered.

use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tracing::debug;

use crate::channel::Stream;
use crate::data;
use crate::instance::{Instance, Job};
use crate::protocol::{
    BAD_LOCALITY, BAD_ORDINAL, BAD_PARAMETER, BUFFER_SIZE, FAIL, Parse, Request, Response, SUCCESS,
    parse,
};

/// What the control channel shares with the data channel.
#[derive(Clone)]
pub(crate) struct Control {
    pub(crate) instance: Instance,
    pub(crate) locality: Arc<AtomicU8>,
    /// The state is encrypted with a key of the caller's.
    pub(crate) encrypted: bool,
}

/// Why a connection ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The caller closed it.
    Closed,
    /// The caller asked the process to end.
    Shutdown,
}

impl Control {
    /// Serves a connection.
    pub(crate) fn serve(&self, mut stream: Stream) -> End {
        let mut buffer = Vec::new();
        let mut descriptor = None;
        let mut chunk = vec![0; 64 * 1024];
        loop {
            let (request, size) = match parse(&buffer) {
                Parse::Whole(request, size) => (Ok(request), size),
                Parse::Bad(result, size) => (Err(result), size),
                Parse::Incomplete => {
                    if stream.wait_for_whole(!buffer.is_empty()).is_err() {
                        return End::Closed;
                    }
                    match stream.receive(&mut chunk) {
                        Ok((0, _)) => return End::Closed,
                        Ok((size, given)) => {
                            buffer.extend_from_slice(chunk.get(..size).unwrap_or(&[]));
                            descriptor = given.or(descriptor);
                        }
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        Err(error) => {
                            debug!("the control connection ends: {error}");
                            return End::Closed;
                        }
                    }
                    continue;
                }
            };
            buffer.drain(..size);
            let shutdown = request == Ok(Request::Shutdown);
            let response = match request {
                Ok(request) => self.answer(request, descriptor.take()),
                Err(result) => Response::result(result),
            };
            if stream.write_all(&response.0).is_err() {
                return End::Closed;
            }
            if shutdown {
                return End::Shutdown;
            }
        }
    }

    fn answer(&self, request: Request, descriptor: Option<OwnedFd>) -> Response {
        let instance = &self.instance;
        let result = match request {
            Request::GetCapability => return Response::capabilities(),
            Request::GetConfig => return Response::config(self.encrypted),
            Request::GetEstablished => {
                return match instance.ask(|reply| Job::Established { reply }).flatten() {
                    Some(bit) => Response::established(bit),
                    None => Response::result(BAD_ORDINAL),
                };
            }
            Request::GetStateBlob { kind, offset } => {
                return match instance.ask(|reply| Job::GetBlob { kind, reply }).flatten() {
                    Some(blob) => Response::blob(SUCCESS, &blob, offset),
                    None => Response::blob(BAD_ORDINAL, &[], 0),
                };
            }
            Request::GetInfo { flags: _, offset } => return Response::info(INFO, offset),
            Request::SetBufferSize(size) => {
                // Only the size there is can be asked for or set.
                let fits = size == 0 || size >= BUFFER_SIZE || size >= 3968;
                return if fits { Response::buffer_size() } else { Response::result(BAD_PARAMETER) };
            }
            Request::Cancel => {
                instance.cancel();
                Some(SUCCESS)
            }
            Request::SetLocality(locality) if locality > 4 => Some(BAD_LOCALITY),
            Request::SetLocality(locality) => {
                self.locality.store(locality, Ordering::Relaxed);
                Some(SUCCESS)
            }
            Request::SetDataFd => Some(self.set_data_descriptor(descriptor)),
            Request::LockStorage { .. } => Some(SUCCESS),
            Request::Init { delete_volatile } => {
                instance.ask(|reply| Job::Init { delete_volatile, reply })
            }
            Request::Shutdown => instance.ask(|reply| Job::Shutdown { reply }),
            Request::HashStart => instance.ask(|reply| Job::HashStart { reply }),
            Request::HashData(data) => instance.ask(|reply| Job::HashData { data, reply }),
            Request::HashEnd => instance.ask(|reply| Job::HashEnd { reply }),
            Request::StoreVolatile => instance.ask(|reply| Job::StoreVolatile { reply }),
            Request::ResetEstablished(locality) => {
                instance.ask(|reply| Job::ResetEstablished { locality, reply })
            }
            Request::SetStateBlob { kind, data } => {
                instance.ask(|reply| Job::SetBlob { kind, data, reply })
            }
            Request::Stop => instance.ask(|reply| Job::Stop { reply }),
        };
        Response::result(result.unwrap_or(FAIL))
    }

    /// Serves the data channel on a descriptor that the caller sent along.
    fn set_data_descriptor(&self, descriptor: Option<OwnedFd>) -> u32 {
        let Some(descriptor) = descriptor else { return BAD_PARAMETER };
        let (instance, locality) = (self.instance.clone(), Arc::clone(&self.locality));
        let thread = std::thread::Builder::new().name("data".into());
        let started = thread.spawn(move || {
            data::serve(Stream::from(descriptor), &instance, &locality);
        });
        if started.is_ok() { SUCCESS } else { FAIL }
    }
}

/// What `GET_INFO` says.
const INFO: &str = concat!(
    r#"{"TPMSpecification":{"family":"2.0","level":0,"revision":164},"#,
    r#""TPMAttributes":{"manufacturer":"id:5654504D","version":"id:00010000","model":"vTPM"}}"#
);
