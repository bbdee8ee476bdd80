//! What the unit tests of commands share: a TPM with a replayable platform, and a builder of
//! commands with password sessions.

use crate::wire::{Cc, Handle, Marshal, Rc, Tag};
use crate::{Outcome, Platform, Profile, Tpm};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a test sets of its platform.
#[derive(Clone, Default)]
pub(crate) struct Controls {
    pub(crate) now_ms: Arc<AtomicU64>,
    pub(crate) presence: Arc<AtomicBool>,
    pub(crate) cancel: Arc<AtomicBool>,
}

struct TestPlatform {
    controls: Controls,
    counter: u8,
}

impl Platform for TestPlatform {
    fn now_ms(&mut self) -> u64 {
        self.controls.now_ms.load(Ordering::Relaxed)
    }

    fn entropy(&mut self, out: &mut [u8]) -> bool {
        for byte in out {
            self.counter = self.counter.wrapping_mul(5).wrapping_add(17);
            *byte = self.counter;
        }
        true
    }

    fn canceled(&self) -> bool {
        self.controls.cancel.load(Ordering::Relaxed)
    }

    fn physical_presence(&self) -> bool {
        self.controls.presence.load(Ordering::Relaxed)
    }
}

/// A response taken apart.
#[derive(Debug, PartialEq)]
pub(crate) struct Reply {
    pub(crate) handle: Option<Handle>,
    pub(crate) parameters: Vec<u8>,
}

/// A TPM and its caller.
pub(crate) struct Client {
    pub(crate) tpm: Tpm,
    pub(crate) controls: Controls,
    pub(crate) locality: u8,
    /// Of the last command.
    pub(crate) outcome: Outcome,
}

impl Client {
    /// A TPM after `_TPM_Init`.
    pub(crate) fn initialized() -> Self {
        Self::with_profile(Profile::few_slots())
    }

    /// A TPM of this profile after `_TPM_Init`.
    pub(crate) fn with_profile(profile: Profile) -> Self {
        let controls = Controls::default();
        let platform = TestPlatform { controls: controls.clone(), counter: 1 };
        let tpm = Tpm::manufacture(profile, Box::new(platform)).unwrap();
        Self { tpm, controls, locality: 0, outcome: Outcome::default() }
    }

    /// A TPM after `TPM2_Startup(CLEAR)`.
    pub(crate) fn started() -> Self {
        let mut client = Self::initialized();
        client.run(&command(Cc::STARTUP).put(0u16)).unwrap();
        client
    }

    /// Lets time pass.
    pub(crate) fn sleep_ms(&self, ms: u64) {
        self.controls.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// A platform with the same controls, for a TPM that is restored.
    pub(crate) fn new_platform(&self) -> Box<dyn Platform> {
        Box::new(TestPlatform { controls: self.controls.clone(), counter: 99 })
    }

    /// Runs raw bytes.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut response = Vec::new();
        self.outcome = self.tpm.execute(self.locality, bytes, &mut response);
        assert_eq!(response.len() as u32, u32::from_be_bytes(response[2..6].try_into().unwrap()));
        response
    }

    /// Runs a command.
    pub(crate) fn run(&mut self, command: &CommandBuilder) -> Result<Reply, Rc> {
        let response = self.raw(&command.build());
        let code = u32::from_be_bytes(response[6..10].try_into().unwrap());
        if code != 0 {
            assert_eq!(response.len(), 10);
            return Err(Rc::from_code(code));
        }
        let mut body = &response[10..];
        let row = crate::commands::find(command.code).unwrap();
        let handle = row.response_handle.then(|| {
            let (handle, rest) = body.split_first_chunk::<4>().unwrap();
            body = rest;
            Handle(u32::from_be_bytes(*handle))
        });
        let parameters = if command.has_sessions() {
            let (size, rest) = body.split_first_chunk::<4>().unwrap();
            rest[..u32::from_be_bytes(*size) as usize].to_vec()
        } else {
            body.to_vec()
        };
        Ok(Reply { handle, parameters })
    }

    /// Runs a command that must fail.
    #[track_caller]
    pub(crate) fn rc(&mut self, command: &CommandBuilder) -> Rc {
        match self.run(command) {
            Ok(_) => panic!("{:?} succeeded", command.code),
            Err(rc) => rc,
        }
    }
}

/// A command under construction.
#[derive(Clone, Debug)]
pub(crate) struct CommandBuilder {
    pub(crate) code: Cc,
    handles: Vec<u8>,
    sessions: Vec<u8>,
    parameters: Vec<u8>,
}

/// Starts a command.
pub(crate) fn command(code: Cc) -> CommandBuilder {
    CommandBuilder { code, handles: Vec::new(), sessions: Vec::new(), parameters: Vec::new() }
}

impl CommandBuilder {
    /// Adds a handle to the handle area.
    pub(crate) fn handle(mut self, handle: Handle) -> Self {
        handle.marshal(&mut self.handles);
        self
    }

    /// Adds a password session.
    pub(crate) fn password(self, password: &[u8]) -> Self {
        self.session(Handle::PASSWORD, &[], 1, password)
    }

    /// Adds a session with the given fields.
    pub(crate) fn session(
        mut self,
        handle: Handle,
        nonce: &[u8],
        attributes: u8,
        auth: &[u8],
    ) -> Self {
        handle.marshal(&mut self.sessions);
        crate::wire::Nonce::from_slice(nonce).marshal(&mut self.sessions);
        self.sessions.push(attributes);
        crate::wire::Nonce::from_slice(auth).marshal(&mut self.sessions);
        self
    }

    /// Adds a parameter.
    pub(crate) fn put(mut self, parameter: impl Marshal) -> Self {
        parameter.marshal(&mut self.parameters);
        self
    }

    /// Adds raw bytes to the parameters.
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.parameters.extend_from_slice(bytes);
        self
    }

    fn has_sessions(&self) -> bool {
        !self.sessions.is_empty()
    }

    /// The command's bytes.
    pub(crate) fn build(&self) -> Vec<u8> {
        let tag = if self.has_sessions() { Tag::SESSIONS } else { Tag::NO_SESSIONS };
        let mut out = tag.to_bytes();
        out.extend_from_slice(&[0; 4]);
        self.code.marshal(&mut out);
        out.extend_from_slice(&self.handles);
        if self.has_sessions() {
            (self.sessions.len() as u32).marshal(&mut out);
            out.extend_from_slice(&self.sessions);
        }
        out.extend_from_slice(&self.parameters);
        let size = (out.len() as u32).to_be_bytes();
        out[2..6].copy_from_slice(&size);
        out
    }
}
