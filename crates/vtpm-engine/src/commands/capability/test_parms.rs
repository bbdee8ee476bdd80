//! TPM2_TestParms: Part 3, clause 30.3, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{PublicParms, Rc};

command! {
    /// Tells whether algorithms, sizes and schemes of an object are supported: they are if they can
    /// be read. Whether they suit an object's attributes only its creation tells.
    #[doc(alias = "TPM2_TestParms")]
    Command {
        handles {}
        parameters {
            /// Type and parameters.
            parameters: PublicParms,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(_: &mut Tpm, _: &Authorized, _: Command) -> Result<Response, Rc> {
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::test_util::{Client, command};
    use crate::wire::{Alg, Cc, Rc};

    #[test]
    fn what_the_tpm_has_passes_and_what_it_lacks_is_named() {
        let mut client = Client::started();
        let mut test = |words: &[u16], tail: &[u8]| {
            let words = words.iter().fold(command(Cc::TEST_PARMS), |c, word| c.put(*word));
            client.run(&words.bytes(tail)).map(|_| ())
        };
        let [rsa, ecc, sym, hash, null] =
            [Alg::RSA, Alg::ECC, Alg::SYMCIPHER, Alg::KEYEDHASH, Alg::NULL].map(|alg| alg.0);
        let (aes, cfb, ecdsa, sha256) = (Alg::AES.0, Alg::CFB.0, Alg::ECDSA.0, Alg::SHA256.0);
        assert_eq!(test(&[rsa, null, null, 2048], &[0; 4]), Ok(()));
        assert_eq!(test(&[rsa, null, null, 512], &[0; 4]), Err(Rc::VALUE.parameter(1)));
        assert_eq!(test(&[rsa, null, ecdsa, 2048], &[0; 4]), Err(Rc::VALUE.parameter(1)));
        assert_eq!(test(&[ecc, null, ecdsa, sha256, 3, null], &[]), Ok(()));
        assert_eq!(test(&[ecc, null, null, 9, null], &[]), Err(Rc::CURVE.parameter(1)));
        assert_eq!(test(&[sym, aes, 128, cfb], &[]), Ok(()));
        assert_eq!(test(&[sym, aes, 64, cfb], &[]), Err(Rc::VALUE.parameter(1)));
        assert_eq!(test(&[sym, null], &[]), Err(Rc::SYMMETRIC.parameter(1)));
        assert_eq!(test(&[hash, null], &[]), Ok(()));
        assert_eq!(test(&[aes, null], &[]), Err(Rc::TYPE.parameter(1)));
    }

    #[test]
    fn bytes_left_over_are_a_size_error() {
        let mut client = Client::started();
        let test = command(Cc::TEST_PARMS).put(Alg::KEYEDHASH).put(Alg::NULL).put(0u8);
        assert_eq!(client.rc(&test), Rc::SIZE);
    }
}
