//! The index of all commands, in ascending order of their codes.

use super::{Flags, Request, Respond, Row};
use crate::entity::Role;
use crate::wire::Cc;

use super::{hierarchy, object, random, startup};

/// A row: code, module, roles of the handles, flags.
macro_rules! rows {
    ($($code:ident $($module:ident)::+ [$($role:ident)*] { $($flag:ident)* })*) => {
        &[$(Row {
            code: Cc::$code,
            handles: <$($module)::+::Command as Request>::HANDLES,
            roles: &[$(Role::$role),*],
            #[allow(clippy::needless_update, reason = "some rows set every flag they know")]
            flags: Flags { $($flag: true,)* ..NO_FLAGS },
            decrypt: <$($module)::+::Command as Request>::DECRYPT,
            encrypt: <$($module)::+::Response as Respond>::ENCRYPT,
            response_handle: <$($module)::+::Response as Respond>::HANDLE,
            run: |tpm, authorized, handles, reader, reply| {
                let command = <$($module)::+::Command as Request>::read(handles, reader)?;
                let response = $($module)::+::run(tpm, authorized, command)?;
                response.write(reply);
                Ok(())
            },
        },)*]
    };
}

const NO_FLAGS: Flags = Flags {
    nv: false,
    extensive: false,
    flushed: false,
    no_sessions: false,
    presence: false,
    presence_always: false,
};

/// The commands.
#[rustfmt::skip] // one line a command
pub(crate) static ROWS: &[Row] = rows! {
    HIERARCHY_CHANGE_AUTH hierarchy::hierarchy_change_auth [User] { nv presence }
    STARTUP startup::startup [] { no_sessions }
    SHUTDOWN startup::shutdown [] { nv }
    READ_PUBLIC object::read_public [] {}
    GET_RANDOM random::get_random [] {}
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_ascending_order_of_command_codes() {
        assert!(ROWS.is_sorted_by(|a, b| a.code < b.code));
    }

    #[test]
    fn handles_that_need_authorization_come_first() {
        for row in ROWS {
            assert!(row.roles.len() <= row.handles.len(), "{:?}", row.code);
            assert!(!row.roles.contains(&Role::None), "{:?}", row.code);
        }
    }
}
