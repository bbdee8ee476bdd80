//! TPM2_ReadOnlyControl: Part 3, clause 24.9, revision 1.83.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Rc, RhPlatform};

command! {
    /// Turns read-only mode on or off: in it, commands are refused that change what outlives a
    /// start, or make keys.
    #[doc(alias = "TPM2_ReadOnlyControl")]
    Command {
        handles {
            /// The platform.
            auth_handle: RhPlatform,
        }
        parameters {
            /// Whether the mode is to be on.
            state: bool,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    tpm.clear.read_only = command.state;
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::test_util::{INDEX, ORDINARY, with_index, write};
    use crate::test_util::{Client, command};
    use crate::wire::{Auth, Cc, Handle, NvAttributes, Rc};

    #[test]
    fn nothing_permanent_changes_in_read_only_mode() {
        let mut client = Client::started();
        let mode = |on: bool| {
            command(Cc::READ_ONLY_CONTROL).handle(Handle::PLATFORM).password(b"").put(on)
        };
        let change = command(Cc::HIERARCHY_CHANGE_AUTH)
            .handle(Handle::OWNER)
            .password(b"")
            .put(Auth::empty());
        client.run(&mode(true)).unwrap();
        assert_eq!(client.rc(&change), Rc::READ_ONLY);
        client.run(&command(Cc::GET_RANDOM).put(1u16)).unwrap();
        // What a start undoes goes on.
        let extend = command(Cc::PCR_EXTEND).handle(Handle(16)).password(b"").put(0u32);
        client.run(&extend).unwrap();
        client.run(&command(Cc::SHUTDOWN).put(0u16)).unwrap();
        client.run(&mode(false)).unwrap();
        client.run(&change).unwrap();
    }

    #[test]
    fn an_index_is_written_in_read_only_mode_only_if_a_start_clears_it() {
        let fleeting = ORDINARY.with(NvAttributes::ORDERLY).with(NvAttributes::CLEAR_ST_CLEAR);
        for (attributes, refused) in [(ORDINARY, true), (fleeting, false)] {
            let mut client = with_index(attributes, 4);
            client.tpm.clear.read_only = true;
            let rc = client.run(&write(INDEX, b"data", 0)).err();
            assert_eq!(rc, refused.then_some(Rc::READ_ONLY));
        }
    }
}
