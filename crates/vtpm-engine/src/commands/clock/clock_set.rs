//! TPM2_ClockSet: Part 3, clause 29.2, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Rc, RhProvision};

/// The largest Clock that can be set.
const MAX_CLOCK: u64 = 0xffff_0000_0000_0000;

command! {
    /// Sets Clock forward.
    #[doc(alias = "TPM2_ClockSet")]
    Command {
        handles {
            /// Owner or platform.
            auth: RhProvision,
        }
        parameters {
            /// Milliseconds; not before now, and not above [`MAX_CLOCK`].
            new_time: u64,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    if command.new_time > MAX_CLOCK || command.new_time < tpm.clock.clock {
        return Err(Rc::VALUE.parameter(1));
    }
    tpm.clock.clock = command.new_time;
    tpm.persist();
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Cc, Handle, Rc};

    fn set(time: u64) -> CommandBuilder {
        command(Cc::CLOCK_SET).handle(Handle::OWNER).password(b"").put(time)
    }

    #[test]
    fn clock_goes_forward_only() {
        let mut client = Client::started();
        client.run(&set(5000)).unwrap();
        assert_eq!(client.rc(&set(4999)), Rc::VALUE.parameter(1));
        assert_eq!(client.rc(&set(super::MAX_CLOCK + 1)), Rc::VALUE.parameter(1));
        client.run(&set(super::MAX_CLOCK)).unwrap();
    }
}
