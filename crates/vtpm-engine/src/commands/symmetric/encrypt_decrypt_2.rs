//! TPM2_EncryptDecrypt2: Part 3, clause 15.3, revision 1.59.

use super::encrypt_decrypt::{Numbers, encrypt_or_decrypt};
use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{CipherMode, DhObject, Iv, MAX_BUFFER, Rc, Secret};

command! {
    /// Encrypts or decrypts with a symmetric key; unlike with `TPM2_EncryptDecrypt`, a session can
    /// encrypt the data on its way here.
    #[doc(alias = "TPM2_EncryptDecrypt2")]
    Command {
        handles {
            /// The key.
            key_handle: DhObject,
        }
        parameters {
            /// The data; whole blocks in CBC and ECB mode.
            in_data: Secret<MAX_BUFFER>,
            /// Decrypt instead of encrypt.
            decrypt: bool,
            /// The mode of operation, if the key leaves the choice.
            mode: CipherMode,
            /// The initialization vector: a block, or nothing in ECB mode.
            iv_in: Iv,
        }
    }
    Response {
        parameters {
            /// The result, as long as the data.
            out_data: Secret<MAX_BUFFER>,
            /// The initialization vector for what follows.
            iv_out: Iv,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let Command { key_handle, in_data, decrypt, mode, iv_in } = command;
    let numbers = Numbers { data: 1, mode: 3, iv: 4 };
    let (out_data, iv_out) =
        encrypt_or_decrypt(tpm, key_handle, decrypt, mode, &iv_in, &in_data, numbers)?;
    Ok(Response { out_data, iv_out })
}

#[cfg(test)]
mod tests {
    use crate::object::key::testing::{aes_key, load};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Alg, Cc, Handle, Iv, MaxBuffer, ObjectAttributes as A, Rc};

    fn crypt(key: Handle, decrypt: bool, mode: Alg, iv: &[u8], data: &[u8]) -> CommandBuilder {
        command(Cc::ENCRYPT_DECRYPT_2)
            .handle(key)
            .password(b"")
            .put(MaxBuffer::from_slice(data))
            .put(decrypt)
            .put(mode)
            .put(Iv::from_slice(iv))
    }

    fn key(client: &mut Client) -> Handle {
        load(client, aes_key(A::SIGN.with(A::DECRYPT), None, &[1; 16]))
    }

    #[test]
    fn both_forms_of_the_command_give_the_same() {
        let mut client = Client::started();
        let key = key(&mut client);
        let second = client.run(&crypt(key, false, Alg::OFB, &[2; 16], b"data")).unwrap();
        let first = command(Cc::ENCRYPT_DECRYPT)
            .handle(key)
            .password(b"")
            .put(false)
            .put(Alg::OFB)
            .put(Iv::from_slice(&[2; 16]))
            .put(MaxBuffer::from_slice(b"data"));
        assert_eq!(client.run(&first).unwrap().parameters, second.parameters);
    }

    #[test]
    fn what_was_encrypted_is_decrypted() {
        let mut client = Client::started();
        let key = key(&mut client);
        for mode in [Alg::CFB, Alg::OFB, Alg::CTR] {
            let cipher = client.run(&crypt(key, false, mode, &[2; 16], b"data")).unwrap();
            let cipher = &cipher.parameters[2..6];
            let plain = client.run(&crypt(key, true, mode, &[2; 16], cipher)).unwrap();
            assert_eq!(plain.parameters[2..6], *b"data");
        }
    }

    #[test]
    fn errors_name_the_parameters_of_this_form() {
        let mut client = Client::started();
        let key = key(&mut client);
        for (mode, iv, data, rc) in [
            (Alg::NULL, &[0; 16][..], 0, Rc::MODE.parameter(3)),
            (Alg::CFB, &[0; 8], 0, Rc::SIZE.parameter(4)),
            (Alg::CBC, &[0; 16], 15, Rc::SIZE.parameter(1)),
        ] {
            assert_eq!(client.rc(&crypt(key, false, mode, iv, &vec![0; data])), rc);
        }
    }
}
