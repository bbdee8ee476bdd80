//! TPM2_ReadClock: Part 3, clause 29.1, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Rc, TimeInfo};

command! {
    /// Reads Time and Clock.
    #[doc(alias = "TPM2_ReadClock")]
    Command {
        handles {}
        parameters {}
    }
    Response {
        parameters {
            /// Time, Clock, and the counters of resets.
            current_time: TimeInfo,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, _: Command) -> Result<Response, Rc> {
    Ok(Response { current_time: tpm.time_info() })
}

#[cfg(test)]
mod tests {
    use crate::test_util::{Client, command};
    use crate::wire::Cc;

    #[test]
    fn time_and_clock_advance_with_the_platform() {
        let mut client = Client::started();
        client.sleep_ms(1234);
        let reply = client.run(&command(Cc::READ_CLOCK)).unwrap();
        assert_eq!(reply.parameters[..8], 1234u64.to_be_bytes());
        assert_eq!(reply.parameters[8..16], 1234u64.to_be_bytes());
    }
}
