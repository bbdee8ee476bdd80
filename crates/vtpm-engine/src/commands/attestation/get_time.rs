//! TPM2_GetTime: Part 3, clause 18.7, revision 1.59.

use crate::attest::AttestBuffer;
use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Attested, Data, DhObject, Rc, RhEndorsement, SigScheme, Signature};

command! {
    /// States Time, Clock and firmware version, in plain in any case.
    #[doc(alias = "TPM2_GetTime")]
    Command {
        handles {
            /// The endorsement hierarchy.
            privacy_admin_handle: RhEndorsement,
            /// The key that signs.
            sign_handle: Option<DhObject>,
        }
        parameters {
            /// From the caller, such as a nonce.
            qualifying_data: Data,
            /// The scheme, unless the key has one.
            in_scheme: SigScheme,
        }
    }
    Response {
        parameters {
            /// The statement.
            time_info: AttestBuffer,
            /// Its signature.
            signature: Signature,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let attester = tpm.attester(command.sign_handle, 2, command.in_scheme.0, 2)?;
    let attested = Attested::Time(tpm.time_info(), tpm.profile.identity.firmware_version);
    let (time_info, signature) = tpm.attest(&attester, command.qualifying_data, attested)?;
    Ok(Response { time_info, signature })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::ecc::Curve;
    use crate::crypto::hash::HashAlg;
    use crate::sign::test_keys::{self, checked_attest};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Cc, Handle, Marshal, Scheme, Tag};

    const ECDSA: Scheme = Scheme::Ecdsa(HashAlg::Sha256);

    fn get(key: Handle, scheme: Scheme) -> CommandBuilder {
        command(Cc::GET_TIME)
            .handle(Handle::ENDORSEMENT)
            .handle(key)
            .password(b"")
            .password(b"")
            .put(Data::from_slice(b"nonce"))
            .put(scheme)
    }

    #[test]
    fn time_and_version_are_plain_even_where_the_head_is_obfuscated() {
        let mut client = Client::started();
        client.sleep_ms(1234);
        let key = client.load(test_keys::ecc(Curve::P256, ECDSA));
        let response = client.run(&get(key, Scheme::Null)).unwrap();
        let signer = client.key(key);
        let attest = checked_attest(&client, Some(&signer), &response.parameters);
        assert_eq!(attest.tag, Tag::ATTEST_TIME);
        let (time, version) =
            (client.tpm.time_info(), client.tpm.profile.identity.firmware_version);
        assert_eq!(time.time, 1234);
        assert_eq!(attest.attested, [time.to_bytes(), version.to_bytes()].concat());
        assert_ne!(attest.firmware_version, version);
    }

    #[test]
    fn key_and_scheme_must_fit() {
        let mut client = Client::started();
        let aes = client.load(test_keys::aes());
        let key = client.load(test_keys::ecc(Curve::P256, ECDSA));
        assert_eq!(client.rc(&get(aes, Scheme::Null)), Rc::KEY.handle(2));
        let command = get(key, Scheme::Ecdsa(HashAlg::Sha1));
        assert_eq!(client.rc(&command), Rc::SCHEME.parameter(2));
        client.run(&get(Handle::NULL, Scheme::Null)).unwrap();
    }

    #[test]
    fn only_the_endorsement_hierarchy_gives_leave() {
        let mut client = Client::started();
        let command = command(Cc::GET_TIME)
            .handle(Handle::OWNER)
            .handle(Handle::NULL)
            .password(b"")
            .password(b"")
            .put(Data::empty())
            .put(Scheme::Null);
        assert_eq!(client.rc(&command), Rc::VALUE.handle(1));
    }
}
