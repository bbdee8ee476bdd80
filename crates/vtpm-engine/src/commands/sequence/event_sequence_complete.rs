//! TPM2_EventSequenceComplete: Part 3, clause 17.7, revision 1.59.

use crate::commands::command;
use crate::object::sequence::SequenceState;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{DhObject, DhPcr, Digest, DigestValues, Ha, HandleInterface, MaxBuffer, Rc};

command! {
    /// Adds the last data to an event sequence, returns the digests, extends a PCR with them and
    /// ends the sequence.
    #[doc(alias = "TPM2_EventSequenceComplete")]
    Command {
        handles {
            /// The PCR; none extends nothing.
            pcr_handle: Option<DhPcr>,
            /// The sequence.
            sequence_handle: DhObject,
        }
        parameters {
            /// The last data.
            buffer: MaxBuffer,
        }
    }
    Response {
        parameters {
            /// A digest for each bank.
            results: DigestValues,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let sequence = tpm.sequence_mut(command.sequence_handle).map_err(|rc| rc.handle(2))?;
    if !matches!(sequence.state, SequenceState::Event(_)) {
        return Err(Rc::MODE.handle(2));
    }
    let pcr = command.pcr_handle.map(|pcr| pcr.handle().0);
    if pcr.is_some_and(|pcr| !tpm.may_extend(pcr)) {
        return Err(Rc::LOCALITY);
    }
    let mut state = tpm.end_sequence(command.sequence_handle, |_| true)?;
    state.update(&command.buffer);
    let SequenceState::Event(hashes) = state else { return Err(Rc::FAILURE) };
    let mut results = DigestValues::default();
    for (alg, digest) in hashes.finish() {
        if let Some(pcr) = pcr {
            tpm.extend_pcr(pcr, alg, &digest);
        }
        results.0.push(Ha { alg, digest: Digest::from_slice(&digest) });
    }
    Ok(Response { results })
}

#[cfg(test)]
mod tests {
    use crate::crypto::hash::{HashAlg, hash};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Alg, Auth, Cc, Digest, DigestValues, Ha, Handle, Marshal, MaxBuffer, Rc};

    fn start(client: &mut Client, alg: Alg) -> Handle {
        let start = command(Cc::HASH_SEQUENCE_START).put(Auth::from_slice(b"seq")).put(alg);
        client.run(&start).unwrap().handle.unwrap()
    }

    fn complete(pcr: Handle, sequence: Handle, data: &[u8]) -> CommandBuilder {
        command(Cc::EVENT_SEQUENCE_COMPLETE)
            .handle(pcr)
            .handle(sequence)
            .password(b"")
            .password(b"seq")
            .put(MaxBuffer::from_slice(data))
    }

    fn digests(client: &Client, data: &[u8]) -> Vec<u8> {
        let banks = client.tpm.pcrs.banks.iter();
        let digests = banks
            .map(|bank| Ha { alg: bank.alg, digest: Digest::from_slice(&hash(bank.alg, &[data])) });
        DigestValues { 0: digests.collect() }.to_bytes()
    }

    #[test]
    fn the_pcr_is_extended_with_the_digests_that_are_returned() {
        let mut client = Client::started();
        let sequence = start(&mut client, Alg::NULL);
        let update = command(Cc::SEQUENCE_UPDATE)
            .handle(sequence)
            .password(b"seq")
            .put(MaxBuffer::from_slice(b"one "));
        client.run(&update).unwrap();
        let before = client.tpm.reset.pcr_counter;
        let response = client.run(&complete(Handle(16), sequence, b"two")).unwrap();
        assert_eq!(response.parameters, digests(&client, b"one two"));
        let bank = client.tpm.pcrs.bank(HashAlg::Sha256).unwrap();
        let digest = hash(HashAlg::Sha256, &[b"one two"]);
        let extended = hash(HashAlg::Sha256, &[&[0; 32], &digest]);
        assert_eq!(bank.value(16).unwrap(), extended.as_bytes());
        // PCR 16 is not counted.
        assert_eq!(client.tpm.reset.pcr_counter, before);
        let rc = client.rc(&complete(Handle(16), sequence, b""));
        assert_eq!(rc, Rc::reference_handle(1));
    }

    #[test]
    fn a_change_of_a_pcr_is_counted_for_each_bank() {
        let mut client = Client::started();
        let sequence = start(&mut client, Alg::NULL);
        let before = client.tpm.reset.pcr_counter;
        client.run(&complete(Handle(0), sequence, b"data")).unwrap();
        let banks = client.tpm.pcrs.banks.iter().filter(|bank| bank.value(0).is_some()).count();
        assert!(banks > 0);
        assert_eq!(client.tpm.reset.pcr_counter, before + banks as u32);
    }

    #[test]
    fn without_a_pcr_nothing_is_extended() {
        let mut client = Client::started();
        let before = client.tpm.pcrs.clone();
        let sequence = start(&mut client, Alg::NULL);
        let response = client.run(&complete(Handle::NULL, sequence, b"data")).unwrap();
        assert_eq!(response.parameters, digests(&client, b"data"));
        assert_eq!(client.tpm.pcrs, before);
    }

    #[test]
    fn another_kind_of_sequence_is_refused() {
        let mut client = Client::started();
        let sequence = start(&mut client, Alg::SHA256);
        let rc = client.rc(&complete(Handle(16), sequence, b""));
        assert_eq!(rc, Rc::MODE.handle(2));
    }

    #[test]
    fn a_locality_that_may_not_extend_the_pcr_is_refused() {
        let mut client = Client::started();
        let sequence = start(&mut client, Alg::NULL);
        assert_eq!(client.rc(&complete(Handle(17), sequence, b"")), Rc::LOCALITY);
        client.locality = 4;
        client.run(&complete(Handle(17), sequence, b"")).unwrap();
    }
}
