//! TPM2_PCR_Read: Part 3, clause 22.4, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Digest, Digests, PcrSelections, Rc};

/// Values that fit into a `TPML_DIGEST`.
const MAX_VALUES: usize = 8;

command! {
    /// Reads PCR, at most eight at once.
    #[doc(alias = "TPM2_PCR_Read")]
    Command {
        handles {}
        parameters {
            /// Which.
            pcr_selection_in: PcrSelections,
        }
    }
    Response {
        parameters {
            /// Counts changes of PCR.
            pcr_update_counter: u32,
            /// Which were read.
            pcr_selection_out: PcrSelections,
            /// Their values.
            pcr_values: Digests,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let mut selections = command.pcr_selection_in;
    let mut values = Digests::default();
    for selection in &mut selections.0 {
        let wanted = selection.clone();
        selection.select.fill(0);
        let Some(bank) = tpm.pcrs.bank(wanted.hash) else { continue };
        for pcr in wanted.pcrs() {
            let Some(value) = bank.value(pcr) else { continue };
            if values.0.len() == MAX_VALUES {
                break;
            }
            values.0.push(Digest::from_slice(value));
            selection.set(pcr);
        }
    }
    Ok(Response {
        pcr_update_counter: tpm.reset.pcr_counter,
        pcr_selection_out: selections,
        pcr_values: values,
    })
}

#[cfg(test)]
mod tests {
    use crate::test_util::{Client, command};
    use crate::wire::{Alg, Cc, Rc};

    #[test]
    fn eight_values_are_read_at_once() {
        let mut client = Client::started();
        let read = command(Cc::PCR_READ).put(1u32).put(Alg::SHA256).bytes(&[3, 0xff, 0xff, 0xff]);
        let reply = client.run(&read).unwrap().parameters;
        assert_eq!(reply[4..14], [0, 0, 0, 1, 0, 0x0b, 3, 0xff, 0, 0]);
        assert_eq!(reply[14..18], [0, 0, 0, 8]);
        assert_eq!(reply.len(), 18 + 8 * 34);
    }

    #[test]
    fn a_bank_that_is_not_active_gives_nothing() {
        let mut client = Client::started();
        let read = command(Cc::PCR_READ).put(1u32).put(Alg::SHA1).bytes(&[3, 0xff, 0xff, 0xff]);
        let reply = client.run(&read).unwrap().parameters;
        assert_eq!(reply[8..], [0, 4, 3, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_bit_map_of_another_size_is_refused() {
        let mut client = Client::started();
        let read = command(Cc::PCR_READ).put(1u32).put(Alg::SHA256).bytes(&[4, 0, 0, 0, 0]);
        assert_eq!(client.rc(&read), Rc::VALUE.parameter(1));
    }

    #[test]
    fn a_dynamic_pcr_starts_with_ones() {
        let mut client = Client::started();
        let read = command(Cc::PCR_READ).put(1u32).put(Alg::SHA256).bytes(&[3, 0, 0, 0x02]);
        let reply = client.run(&read).unwrap().parameters;
        assert_eq!(reply[20..], [0xff; 32]);
    }
}
