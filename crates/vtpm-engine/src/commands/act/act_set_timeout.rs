//! TPM2_ACT_SetTimeout: Part 3, clause 33.2, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{HandleInterface, Rc, RhAct};

command! {
    /// Sets the seconds until an authenticated countdown timer signals; zero stops it.
    #[doc(alias = "TPM2_ACT_SetTimeout")]
    Command {
        handles {
            /// The timer.
            act_handle: RhAct,
        }
        parameters {
            /// Seconds.
            start_timeout: u32,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let time = tpm.clock.time;
    let act = tpm.act_mut(command.act_handle.handle())?;
    act.remaining = command.start_timeout;
    act.passed_ms = 0;
    act.last_time = time;
    act.signaled = false;
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Cc, Handle, Rc};

    fn set(act: u8, seconds: u32) -> CommandBuilder {
        command(Cc::ACT_SET_TIMEOUT).handle(Handle::of_act(act)).password(b"").put(seconds)
    }

    #[test]
    fn the_timer_signals_when_its_time_is_over() {
        let mut client = Client::started();
        client.run(&set(0, 10)).unwrap();
        for (sleep, remaining, signaled) in [(9_500, 1, false), (400, 1, false), (100, 0, true)] {
            client.sleep_ms(sleep);
            client.run(&command(Cc::READ_CLOCK)).unwrap();
            let act = &client.tpm.clear.acts[0];
            assert_eq!((act.remaining, act.signaled), (remaining, signaled));
        }
        client.run(&set(0, 0)).unwrap();
        assert!(!client.tpm.clear.acts[0].signaled);
    }

    #[test]
    fn a_timer_that_is_not_there_is_refused() {
        let mut client = Client::started();
        assert_eq!(client.rc(&set(5, 1)), Rc::VALUE.handle(1));
    }
}
