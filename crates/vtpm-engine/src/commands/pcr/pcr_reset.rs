//! TPM2_PCR_Reset: Part 3, clause 22.8, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{DhPcr, HandleInterface, Rc};

command! {
    /// Sets a PCR to zero in all banks.
    #[doc(alias = "TPM2_PCR_Reset")]
    Command {
        handles {
            /// The PCR.
            pcr_handle: DhPcr,
        }
        parameters {}
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let pcr = command.pcr_handle.handle().0;
    // Locality 4 resets by the D-RTM sequence, not by this command.
    if tpm.locality == 4 || !tpm.may_reset(pcr) {
        return Err(Rc::LOCALITY);
    }
    tpm.pcrs.banks.iter_mut().for_each(|bank| bank.fill(pcr, 0));
    tpm.note_pcr_change(pcr);
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Cc, Handle, Rc};

    fn reset(pcr: u32) -> CommandBuilder {
        command(Cc::PCR_RESET).handle(Handle(pcr)).password(b"")
    }

    #[test]
    fn only_debug_and_application_pcr_can_be_reset_from_locality_0() {
        let mut client = Client::started();
        for pcr in 0..24 {
            let result = client.run(&reset(pcr)).map(|_| ());
            let expected = if matches!(pcr, 16 | 23) { Ok(()) } else { Err(Rc::LOCALITY) };
            assert_eq!(result, expected, "PCR {pcr}");
        }
    }

    #[test]
    fn locality_4_does_not_reset_by_command() {
        let mut client = Client::started();
        client.locality = 4;
        assert_eq!(client.rc(&reset(17)), Rc::LOCALITY);
    }
}
