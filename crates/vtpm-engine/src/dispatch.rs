//! From a command's bytes to a response's bytes (Part 3, clause 5).
//!
//! ```text
//!   header -> command code -> power -> handles -> handles loaded -> sessions -> first parameter
//!   decrypted -> parameters -> action -> response parameters -> encrypted -> audits -> sessions
//! ```

use crate::commands::{self, Reply, Row};
use crate::session::authorize::Request;
use crate::tpm::{Power, Tpm};
use crate::wire::{Cc, Handle, Marshal, Rc, Reader, Tag};

/// `TPM_PT_MAX_COMMAND_SIZE` and `TPM_PT_MAX_RESPONSE_SIZE`.
pub const MAX_COMMAND_SIZE: usize = 4096;

/// Handles that one command can have.
const MAX_HANDLES: usize = 3;

/// What the host must do before it releases a response.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// [`Tpm::save_permanent`] must be durable first.
    pub durable: bool,
}

impl Tpm {
    /// Runs a command that came from a locality (0 to 4, or 32 to 255) and writes the response.
    ///
    /// Always writes a well-formed response, whatever `command` is. `response` is overwritten;
    /// giving the same buffer again saves its allocation.
    pub fn execute(&mut self, locality: u8, command: &[u8], response: &mut Vec<u8>) -> Outcome {
        self.locality = locality;
        // Any command ends a D-RTM sequence in progress, without its effect.
        self.drtm = None;
        response.clear();
        if self.power != Power::Failed {
            self.advance_clock();
        }
        if let Err(rc) = self.dispatch(command, response) {
            write_error(rc, response);
        }
        Outcome { durable: core::mem::take(&mut self.durable) }
    }

    fn dispatch(&mut self, command: &[u8], response: &mut Vec<u8>) -> Result<(), Rc> {
        let algorithms = self.profile.algorithms;
        let places = self.places();
        let mut reader = Reader::new(command, &algorithms).with_places(places);
        let tag = reader.get::<Tag>()?;
        if !matches!(tag, Tag::SESSIONS | Tag::NO_SESSIONS) {
            return Err(Rc::BAD_TAG);
        }
        let size = reader.get::<u32>()? as usize;
        if size != command.len() || size > MAX_COMMAND_SIZE {
            return Err(Rc::COMMAND_SIZE);
        }
        let code = reader.get::<Cc>()?;
        let row = self.admit(code)?;
        let (handles, count) = read_handles(row, &mut reader)?;
        let handles = handles.get(..count).ok_or(Rc::FAILURE)?;
        for (position, (number, handle)) in (1u32..).zip(handles).enumerate() {
            self.check_loaded(*handle, position).map_err(|rc| rc.handle(number))?;
        }
        let area = if tag == Tag::SESSIONS {
            let size = reader.get::<u32>()? as usize;
            // The smallest session has 9 bytes.
            if size < 9 || size > reader.rest().len() {
                return Err(Rc::SIZE);
            }
            Some(reader.take(size)?)
        } else {
            None
        };
        let request = Request { row, handles, parameters: reader.rest() };
        let authorized = self.authorize(&request, area)?;
        if !commands::keeps_orderly(code) {
            self.clear_orderly();
        }
        let mut reply = Reply::default();
        if authorized.decrypt.is_some() {
            let mut parameters = zeroize::Zeroizing::new(reader.rest().to_vec());
            self.decrypt_parameter(&authorized, &mut parameters)?;
            let mut reader = Reader::new(&parameters, &algorithms).with_places(places);
            (row.run)(self, &authorized, handles, &mut reader, &mut reply)?;
        } else {
            (row.run)(self, &authorized, handles, &mut reader, &mut reply)?;
        }
        let mut sessions = Vec::new();
        self.respond(authorized, &mut reply.parameters, row.flags.no_sessions, &mut sessions)?;
        write_response(tag, &reply, &sessions, response);
        Ok(())
    }

    /// The row of a command that may run now.
    fn admit(&self, code: Cc) -> Result<&'static Row, Rc> {
        if self.power == Power::Failed && !matches!(code, Cc::GET_TEST_RESULT | Cc::GET_CAPABILITY)
        {
            return Err(Rc::FAILURE);
        }
        let row = commands::find(code).ok_or(Rc::COMMAND_CODE)?;
        let started = self.power != Power::Initialized;
        if started == (code == Cc::STARTUP) {
            return Err(Rc::INITIALIZE);
        }
        if self.clear.read_only && commands::is_refused_in_read_only_mode(code) {
            return Err(Rc::READ_ONLY);
        }
        Ok(row)
    }
}

/// The handles of the handle area, each checked as it is read.
fn read_handles(row: &Row, reader: &mut Reader<'_>) -> Result<([Handle; MAX_HANDLES], usize), Rc> {
    let mut handles = [Handle::NULL; MAX_HANDLES];
    for ((number, slot), check) in (1u32..).zip(&mut handles).zip(row.handles) {
        *slot = reader
            .handle()
            .and_then(|handle| check(handle).map(|()| handle))
            .map_err(|rc| rc.handle(number))?;
    }
    Ok((handles, row.handles.len().min(MAX_HANDLES)))
}

fn write_response(tag: Tag, reply: &Reply, sessions: &[u8], response: &mut Vec<u8>) {
    tag.marshal(response);
    response.extend_from_slice(&[0; 8]);
    if let Some(handle) = reply.handle {
        handle.marshal(response);
    }
    if tag == Tag::SESSIONS {
        (reply.parameters.len() as u32).marshal(response);
    }
    response.extend_from_slice(&reply.parameters);
    response.extend_from_slice(sessions);
    let size = (response.len() as u32).to_be_bytes();
    if let Some(field) = response.get_mut(2..6) {
        field.copy_from_slice(&size);
    }
}

fn write_error(rc: Rc, response: &mut Vec<u8>) {
    response.clear();
    // A TPM 1.2 caller is told in its own form that its tag is unknown.
    let tag = if rc == Rc::BAD_TAG { Tag::RSP_COMMAND } else { Tag::NO_SESSIONS };
    tag.marshal(response);
    10u32.marshal(response);
    rc.code().marshal(response);
}
