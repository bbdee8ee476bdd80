//! TPM 2.0 Library Part 3: the commands. A folder a chapter, a file a command.
//!
//! Every file has one shape: the head names command, clause and revision; [`command!`] declares
//! `Command` (handles and parameters in wire order, each of a checked type) and `Response`; `run`
//! does the work; tests follow, one for each row of the clause's error table. [`table`] has a row
//! for each command and is the index: dispatch and `TPM2_GetCapability` both come from it.
//!
//! A handler gets an [`Authorized`], which only the session code can make, so it cannot run
//! without its checks. State lives in the subsystems; logic that two commands share lives there.

pub(crate) mod act;
pub(crate) mod asymmetric;
pub(crate) mod attestation;
pub(crate) mod audit;
pub(crate) mod capability;
pub(crate) mod clock;
pub(crate) mod context;
pub(crate) mod duplication;
pub(crate) mod ephemeral;
pub(crate) mod hierarchy;
pub(crate) mod lockout;
pub(crate) mod management;
pub(crate) mod nv;
pub(crate) mod object;
pub(crate) mod pcr;
pub(crate) mod policy;
pub(crate) mod random;
pub(crate) mod sequence;
pub(crate) mod session;
pub(crate) mod signature;
pub(crate) mod startup;
pub(crate) mod symmetric;
pub(crate) mod table;
pub(crate) mod testing;

use crate::entity::Role;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Cc, Handle, Rc, Reader};

/// Checks that a handle may stand at its place.
pub(crate) type HandleCheck = fn(Handle) -> Result<(), Rc>;

/// Attributes of a command that do not follow from its structures.
#[derive(Copy, Clone, Debug, Default)]
pub(crate) struct Flags {
    /// `TPMA_CC` `nv`: may write NV.
    pub(crate) nv: bool,
    /// `TPMA_CC` `extensive`: may flush any number of loaded contexts.
    pub(crate) extensive: bool,
    /// `TPMA_CC` `flushed`: a transient object in the command is flushed.
    pub(crate) flushed: bool,
    /// No sessions are allowed.
    pub(crate) no_sessions: bool,
    /// Physical presence can be required of it (`TPM2_PP_Commands`).
    pub(crate) presence: bool,
    /// Physical presence is always required.
    pub(crate) presence_always: bool,
}

/// A command in the table.
pub(crate) struct Row {
    pub(crate) code: Cc,
    /// One check for each handle in the handle area.
    pub(crate) handles: &'static [HandleCheck],
    /// How each handle is authorized; handles beyond have [`Role::None`].
    pub(crate) roles: &'static [Role],
    pub(crate) flags: Flags,
    /// The first parameter can be encrypted.
    pub(crate) decrypt: bool,
    /// The first response parameter can be encrypted.
    pub(crate) encrypt: bool,
    /// The response has a handle.
    pub(crate) response_handle: bool,
    pub(crate) run: Run,
}

/// Parses the parameters, runs the command, and writes handle and parameters of the response.
pub(crate) type Run =
    fn(&mut Tpm, &Authorized, &[Handle], &mut Reader<'_>, &mut Reply) -> Result<(), Rc>;

/// The response of a command without header and sessions.
#[derive(Default)]
pub(crate) struct Reply {
    pub(crate) handle: Option<Handle>,
    pub(crate) parameters: Vec<u8>,
}

/// What [`command!`] makes of a `Command`.
pub(crate) trait Request: Sized {
    const HANDLES: &'static [HandleCheck];
    const DECRYPT: bool;

    fn read(handles: &[Handle], reader: &mut Reader<'_>) -> Result<Self, Rc>;
}

/// What [`command!`] makes of a `Response`.
pub(crate) trait Respond {
    const HANDLE: bool;
    const ENCRYPT: bool;

    fn write(&self, reply: &mut Reply);
}

/// The row of a command code.
pub(crate) fn find(code: Cc) -> Option<&'static Row> {
    let position = table::ROWS.binary_search_by_key(&code, |row| row.code).ok()?;
    table::ROWS.get(position)
}

/// Whether a command writes the NV index that it names: its authorization then needs the write
/// attributes of the index (Part 3, clause 31.1).
pub(crate) fn is_nv_write(code: Cc) -> bool {
    matches!(
        code,
        Cc::NV_WRITE
            | Cc::NV_INCREMENT
            | Cc::NV_SET_BITS
            | Cc::NV_EXTEND
            | Cc::NV_WRITE_LOCK
            // Its authorization is the platform's: no index is meant.
            | Cc::NV_GLOBAL_WRITE_LOCK
    )
}

/// Whether a command leaves untouched what `TPM2_Shutdown` kept. Any other one makes the shutdown
/// void, so that nothing it changes can be undone by a resume.
pub(crate) fn keeps_orderly(code: Cc) -> bool {
    matches!(
        code,
        Cc::STARTUP
            | Cc::SHUTDOWN
            | Cc::GET_CAPABILITY
            | Cc::GET_TEST_RESULT
            | Cc::GET_RANDOM
            | Cc::HASH
            | Cc::NV_READ_PUBLIC
            | Cc::NV_READ_PUBLIC_2
            | Cc::PCR_READ
            | Cc::READ_CLOCK
            | Cc::READ_PUBLIC
            | Cc::TEST_PARMS
            | Cc::VERIFY_SIGNATURE
    )
}

/// The first of a list, or `false`: whether the first parameter is a `TPM2B_`.
pub(crate) const fn first(list: &[bool]) -> bool {
    match list {
        [first, ..] => *first,
        [] => false,
    }
}

/// Whether a command is refused in read-only mode (`TPM2_ReadOnlyControl`), whatever it is about.
/// What writes an NV index depends on the index instead: [`Tpm::check_nv_mode`].
pub(crate) fn is_refused_in_read_only_mode(code: Cc) -> bool {
    matches!(
        code,
        Cc::CHANGE_EPS
            | Cc::CHANGE_PPS
            | Cc::CLEAR
            | Cc::CLEAR_CONTROL
            | Cc::CLOCK_RATE_ADJUST
            | Cc::CLOCK_SET
            | Cc::CREATE
            | Cc::CREATE_LOADED
            | Cc::CREATE_PRIMARY
            | Cc::DICTIONARY_ATTACK_PARAMETERS
            | Cc::EVICT_CONTROL
            | Cc::HIERARCHY_CHANGE_AUTH
            | Cc::HIERARCHY_CONTROL
            | Cc::NV_CHANGE_AUTH
            | Cc::NV_DEFINE_SPACE
            | Cc::NV_DEFINE_SPACE_2
            | Cc::NV_GLOBAL_WRITE_LOCK
            | Cc::NV_INCREMENT
            | Cc::NV_UNDEFINE_SPACE
            | Cc::NV_UNDEFINE_SPACE_SPECIAL
            | Cc::OBJECT_CHANGE_AUTH
            | Cc::PCR_ALLOCATE
            | Cc::PCR_SET_AUTH_POLICY
            | Cc::PCR_SET_AUTH_VALUE
            | Cc::PP_COMMANDS
            | Cc::SET_ALGORITHM_SET
            | Cc::SET_CAPABILITY
            | Cc::SET_COMMAND_CODE_AUDIT_STATUS
            | Cc::SET_PRIMARY_POLICY
    )
}

/// Declares the structures of a command: see [the module](self).
///
/// An error in parameter `n` gets that number, and bytes left over are `TPM_RC_SIZE`.
macro_rules! command {
    (
        $(#[$command_meta:meta])*
        Command {
            handles { $($(#[$handle_meta:meta])* $handle:ident: $handle_type:ty,)* }
            parameters { $($(#[$parameter_meta:meta])* $parameter:ident: $parameter_type:ty,)* }
        }
        Response {
            $(handle { $(#[$response_handle_meta:meta])* $response_handle:ident })?
            parameters { $($(#[$response_meta:meta])* $response:ident: $response_type:ty,)* }
        }
    ) => {
        $(#[$command_meta])*
        #[derive(Debug)]
        #[allow(dead_code, reason = "some handles are there for their authorization alone")]
        pub(crate) struct Command {
            $($(#[$handle_meta])* pub(crate) $handle: $handle_type,)*
            $($(#[$parameter_meta])* pub(crate) $parameter: $parameter_type,)*
        }

        impl $crate::commands::Request for Command {
            const HANDLES: &'static [$crate::commands::HandleCheck] = &[
                $(|handle| {
                    <$handle_type as $crate::wire::HandleInterface>::check(handle).map(|_| ())
                },)*
            ];
            const DECRYPT: bool = $crate::commands::first(&[
                $(<$parameter_type as $crate::wire::Unmarshal>::SIZED,)*
            ]);

            #[allow(
                unused_mut, unused_variables, unused_assignments,
                reason = "a command may have no handles or no parameters"
            )]
            fn read(
                handles: &[$crate::wire::Handle],
                reader: &mut $crate::wire::Reader<'_>,
            ) -> Result<Self, $crate::wire::Rc> {
                let mut handles = handles.iter().copied();
                let mut number = 0u32;
                let command = Self {
                    $($handle: {
                        let handle = handles.next().ok_or($crate::wire::Rc::FAILURE)?;
                        <$handle_type as $crate::wire::HandleInterface>::check(handle)?
                    },)*
                    $($parameter: {
                        number = number.saturating_add(1);
                        reader.get::<$parameter_type>().map_err(|rc| rc.parameter(number))?
                    },)*
                };
                reader.finish()?;
                Ok(command)
            }
        }

        #[doc = "The response."]
        #[derive(Debug)]
        pub(crate) struct Response {
            $($(#[$response_handle_meta])* pub(crate) $response_handle: $crate::wire::Handle,)?
            $($(#[$response_meta])* pub(crate) $response: $response_type,)*
        }

        impl $crate::commands::Respond for Response {
            const HANDLE: bool =
                $crate::commands::first(&[$({ let _ = stringify!($response_handle); true },)?]);
            const ENCRYPT: bool = $crate::commands::first(&[
                $(<$response_type as $crate::wire::Marshal>::SIZED,)*
            ]);

            #[allow(unused_variables, reason = "a response may be empty")]
            fn write(&self, reply: &mut $crate::commands::Reply) {
                $(reply.handle = Some(self.$response_handle);)?
                $($crate::wire::Marshal::marshal(&self.$response, &mut reply.parameters);)*
            }
        }
    };
}
pub(crate) use command;
