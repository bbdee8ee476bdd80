//! TPM2_ClockRateAdjust: Part 3, clause 29.3, revision 1.59.

use crate::clock::ClockAdjust;
use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Rc, RhProvision};

command! {
    /// Makes Clock run faster or slower.
    #[doc(alias = "TPM2_ClockRateAdjust")]
    Command {
        handles {
            /// Owner or platform.
            auth: RhProvision,
        }
        parameters {
            /// How much.
            rate_adjust: ClockAdjust,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    tpm.clock.adjust_rate(command.rate_adjust);
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Cc, Handle, Rc};

    fn adjust(rate: i8) -> CommandBuilder {
        command(Cc::CLOCK_RATE_ADJUST).handle(Handle::OWNER).password(b"").put(rate)
    }

    #[test]
    fn clock_runs_faster_afterwards() {
        let mut client = Client::started();
        client.run(&adjust(3)).unwrap();
        let before = client.tpm.clock.clock;
        client.sleep_ms(100_000);
        client.run(&command(Cc::READ_CLOCK)).unwrap();
        assert!(client.tpm.clock.clock > before + 100_000);
    }

    #[test]
    fn an_unknown_adjustment_is_refused() {
        let mut client = Client::started();
        assert_eq!(client.rc(&adjust(4)), Rc::VALUE.parameter(1));
        assert_eq!(client.rc(&adjust(-4)), Rc::VALUE.parameter(1));
    }
}
