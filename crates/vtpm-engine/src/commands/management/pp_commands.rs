//! TPM2_PP_Commands: Part 3, clause 26.2, revision 1.59.

use crate::commands;
use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Ccs, Rc, RhPlatform};

command! {
    /// Chooses the commands that need physical presence.
    #[doc(alias = "TPM2_PP_Commands")]
    Command {
        handles {
            /// The platform, with physical presence.
            auth: RhPlatform,
        }
        parameters {
            /// Commands that will need it.
            set_list: Ccs,
            /// Commands that will not.
            clear_list: Ccs,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let list = &mut tpm.permanent.pp_commands;
    for code in command.set_list.0 {
        let can = commands::find(code).is_some_and(|row| row.flags.presence);
        if can && let Err(position) = list.binary_search(&code) {
            list.insert(position, code);
        }
    }
    list.retain(|code| !command.clear_list.0.contains(code));
    tpm.persist();
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Cc, Ccs, Handle, List, Rc};
    use std::sync::atomic::Ordering;

    fn choose(set: &[Cc], clear: &[Cc]) -> CommandBuilder {
        let (set, clear): (Ccs, Ccs) = (List(set.to_vec()), List(clear.to_vec()));
        command(Cc::PP_COMMANDS).handle(Handle::PLATFORM).password(b"").put(set).put(clear)
    }

    #[test]
    fn it_needs_physical_presence_itself() {
        let mut client = Client::started();
        assert_eq!(client.rc(&choose(&[], &[])), Rc::PP.session(1));
    }

    #[test]
    fn a_chosen_command_needs_physical_presence() {
        let mut client = Client::started();
        let clear = command(Cc::CLEAR).handle(Handle::PLATFORM).password(b"");
        client.controls.presence.store(true, Ordering::Relaxed);
        client.run(&choose(&[Cc::CLEAR], &[])).unwrap();
        client.controls.presence.store(false, Ordering::Relaxed);
        assert_eq!(client.rc(&clear), Rc::PP.session(1));
        client.controls.presence.store(true, Ordering::Relaxed);
        client.run(&choose(&[], &[Cc::CLEAR])).unwrap();
        client.controls.presence.store(false, Ordering::Relaxed);
        client.run(&clear).unwrap();
    }
}
