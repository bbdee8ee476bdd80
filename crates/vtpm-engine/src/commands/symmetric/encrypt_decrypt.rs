//! TPM2_EncryptDecrypt: Part 3, clause 15.2, revision 1.59.

use zeroize::Zeroizing;

use crate::commands::command;
use crate::crypto::sym::{BLOCK_SIZE, Mode, crypt};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{
    CipherMode, DhObject, Iv, MAX_BUFFER, MaxBuffer, ObjectAttributes, PublicParms, Rc, Secret,
    SymMode,
};

command! {
    /// Encrypts or decrypts with a symmetric key.
    #[doc(alias = "TPM2_EncryptDecrypt")]
    Command {
        handles {
            /// The key.
            key_handle: DhObject,
        }
        parameters {
            /// Decrypt instead of encrypt.
            decrypt: bool,
            /// The mode of operation, if the key leaves the choice.
            mode: CipherMode,
            /// The initialization vector: a block, or nothing in ECB mode.
            iv_in: Iv,
            /// The data; whole blocks in CBC and ECB mode.
            in_data: MaxBuffer,
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
    let Command { key_handle, decrypt, mode, iv_in, in_data } = command;
    let numbers = Numbers { mode: 2, iv: 3, data: 4 };
    let (out_data, iv_out) =
        encrypt_or_decrypt(tpm, key_handle, decrypt, mode, &iv_in, &in_data, numbers)?;
    Ok(Response { out_data, iv_out })
}

/// Where a command has these parameters.
#[derive(Copy, Clone)]
pub(super) struct Numbers {
    pub(super) mode: u32,
    pub(super) iv: u32,
    pub(super) data: u32,
}

/// What both forms of the command do.
pub(super) fn encrypt_or_decrypt(
    tpm: &Tpm,
    key_handle: DhObject,
    decrypt: bool,
    mode: CipherMode,
    iv: &Iv,
    data: &[u8],
    numbers: Numbers,
) -> Result<(Secret<MAX_BUFFER>, Iv), Rc> {
    let key = tpm.object(key_handle).map_err(|_| Rc::KEY.handle(1))?;
    let PublicParms::SymCipher(aes) = &key.public.parms else { return Err(Rc::KEY.handle(1)) };
    let needed = if decrypt { ObjectAttributes::DECRYPT } else { ObjectAttributes::SIGN };
    if key.public.has(ObjectAttributes::RESTRICTED) || !key.public.has(needed) {
        return Err(Rc::ATTRIBUTES.handle(1));
    }
    let mode = select_mode(aes.mode, mode.0, numbers)?;
    let iv_size = if mode == Mode::Ecb { 0 } else { BLOCK_SIZE };
    if iv.len() != iv_size {
        return Err(Rc::SIZE.parameter(numbers.iv));
    }
    if matches!(mode, Mode::Cbc | Mode::Ecb) && !data.len().is_multiple_of(BLOCK_SIZE) {
        return Err(Rc::SIZE.parameter(numbers.data));
    }
    // Authorization of the key made sure that the sensitive area is there.
    let secret = &key.sensitive.as_ref().ok_or(Rc::FAILURE)?.composite;
    let mut chain = [0; BLOCK_SIZE];
    chain.iter_mut().zip(iv.iter()).for_each(|(to, from)| *to = *from);
    let mut data = Zeroizing::new(data.to_vec());
    crypt(secret, mode, !decrypt, &mut chain, &mut data).map_err(|_| Rc::FAILURE)?;
    let iv_out = chain.get(..iv_size).ok_or(Rc::FAILURE)?;
    Ok((Secret::new(&data)?, Iv::new(iv_out)?))
}

/// The mode of operation: the key's, or the caller's when the key leaves the choice.
fn select_mode(
    prescribed: Option<SymMode>,
    requested: Option<SymMode>,
    numbers: Numbers,
) -> Result<Mode, Rc> {
    let unfit = Rc::MODE.parameter(numbers.mode);
    if prescribed == Some(SymMode::Cmac) {
        return Err(Rc::MODE.handle(1));
    }
    let chosen = match (prescribed, requested) {
        (Some(prescribed), Some(requested)) if prescribed != requested => return Err(unfit),
        (prescribed, requested) => prescribed.or(requested).ok_or(unfit)?,
    };
    match chosen {
        SymMode::Cfb => Ok(Mode::Cfb),
        SymMode::Ctr => Ok(Mode::Ctr),
        SymMode::Ofb => Ok(Mode::Ofb),
        SymMode::Cbc => Ok(Mode::Cbc),
        SymMode::Ecb => Ok(Mode::Ecb),
        SymMode::Cmac => Err(unfit),
    }
}

#[cfg(test)]
mod tests {
    use crate::object::key::testing::{aes_key, bytes, ecc_key, load};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Alg, Cc, Handle, Iv, MaxBuffer, ObjectAttributes as A, Rc, Scheme, SymMode};

    const KEY: &str = "2b7e151628aed2a6abf7158809cf4f3c";
    const IV: &str = "000102030405060708090a0b0c0d0e0f";
    const PLAIN: &str = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51";
    /// SP 800-38A, F.2.1.
    const CBC: &str = "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2";

    fn crypt(key: Handle, decrypt: bool, mode: Alg, iv: &[u8], data: &[u8]) -> CommandBuilder {
        command(Cc::ENCRYPT_DECRYPT)
            .handle(key)
            .password(b"")
            .put(decrypt)
            .put(mode)
            .put(Iv::from_slice(iv))
            .put(MaxBuffer::from_slice(data))
    }

    fn key(client: &mut Client, attributes: A, mode: Option<SymMode>) -> Handle {
        load(client, aes_key(attributes, mode, &bytes(KEY)))
    }

    fn both() -> A {
        A::SIGN.with(A::DECRYPT)
    }

    #[test]
    fn results_are_those_of_the_standard() {
        let mut client = Client::started();
        let key = key(&mut client, both(), None);
        let encrypt = crypt(key, false, Alg::CBC, &bytes(IV), &bytes(PLAIN));
        let response = client.run(&encrypt).unwrap().parameters;
        assert_eq!(response[2..34], bytes(CBC));
        // The last block of cipher text is what the next piece goes on with.
        assert_eq!(response[34..], [&[0, 16], &bytes(CBC)[16..]].concat());
        let decrypt = crypt(key, true, Alg::CBC, &bytes(IV), &bytes(CBC));
        assert_eq!(client.run(&decrypt).unwrap().parameters[2..34], bytes(PLAIN));
    }

    #[test]
    fn pieces_give_what_the_whole_gives() {
        let mut client = Client::started();
        for (mode, alg) in [
            (SymMode::Cfb, Alg::CFB),
            (SymMode::Ctr, Alg::CTR),
            (SymMode::Ofb, Alg::OFB),
            (SymMode::Cbc, Alg::CBC),
        ] {
            let key = key(&mut client, both(), Some(mode));
            let whole = crypt(key, false, alg, &bytes(IV), &[9; 48]);
            let whole = client.run(&whole).unwrap().parameters[2..50].to_vec();
            let first = crypt(key, false, Alg::NULL, &bytes(IV), &[9; 16]);
            let first = client.run(&first).unwrap().parameters;
            let second = crypt(key, false, Alg::NULL, &first[20..36], &[9; 32]);
            let second = client.run(&second).unwrap().parameters;
            assert_eq!([&first[2..18], &second[2..34]].concat(), whole, "{mode:?}");
        }
    }

    #[test]
    fn ecb_has_no_initialization_vector() {
        let mut client = Client::started();
        let key = key(&mut client, both(), Some(SymMode::Ecb));
        let response = client.run(&crypt(key, false, Alg::NULL, b"", &bytes(PLAIN))).unwrap();
        assert_eq!(response.parameters.len(), 2 + 32 + 2);
        let rc = client.rc(&crypt(key, false, Alg::NULL, &bytes(IV), &bytes(PLAIN)));
        assert_eq!(rc, Rc::SIZE.parameter(3));
    }

    #[test]
    fn no_data_leaves_the_vector_alone() {
        let mut client = Client::started();
        let key = key(&mut client, both(), None);
        let response = client.run(&crypt(key, false, Alg::CFB, &bytes(IV), b"")).unwrap();
        assert_eq!(response.parameters, [&[0, 0, 0, 16], bytes(IV).as_slice()].concat());
    }

    #[test]
    fn only_an_unrestricted_cipher_key_with_the_right_attribute_will_do() {
        let mut client = Client::started();
        for (attributes, decrypt) in [
            (A::SIGN, true),
            (A::DECRYPT, false),
            (both().with(A::RESTRICTED), false),
            (both().with(A::RESTRICTED), true),
        ] {
            let key = key(&mut client, attributes, None);
            let rc = client.rc(&crypt(key, decrypt, Alg::CFB, &bytes(IV), b""));
            assert_eq!(rc, Rc::ATTRIBUTES.handle(1));
        }
        let ecc = load(&mut client, ecc_key(both(), Scheme::Null));
        let rc = client.rc(&crypt(ecc, true, Alg::CFB, &bytes(IV), b""));
        assert_eq!(rc, Rc::KEY.handle(1));
    }

    #[test]
    fn the_mode_must_be_that_of_the_key() {
        let mut client = Client::started();
        for (mode, requested, rc) in [
            (Some(SymMode::Cfb), Alg::CTR, Rc::MODE.parameter(2)),
            (None, Alg::NULL, Rc::MODE.parameter(2)),
            (None, Alg::CMAC, Rc::MODE.parameter(2)),
            (None, Alg::AES, Rc::MODE.parameter(2)),
            (Some(SymMode::Cmac), Alg::NULL, Rc::MODE.handle(1)),
        ] {
            let key = key(&mut client, both(), mode);
            let rc_given = client.rc(&crypt(key, false, requested, &bytes(IV), b""));
            assert_eq!(rc_given, rc, "{mode:?} {requested:?}");
        }
    }

    #[test]
    fn vector_and_data_must_be_whole_blocks() {
        let mut client = Client::started();
        let key = key(&mut client, both(), None);
        let rc = client.rc(&crypt(key, false, Alg::CFB, &[0; 15], b""));
        assert_eq!(rc, Rc::SIZE.parameter(3));
        let rc = client.rc(&crypt(key, false, Alg::CBC, &bytes(IV), &[0; 17]));
        assert_eq!(rc, Rc::SIZE.parameter(4));
        let rc = client.rc(&crypt(key, true, Alg::ECB, b"", &[0; 17]));
        assert_eq!(rc, Rc::SIZE.parameter(4));
        client.run(&crypt(key, false, Alg::CTR, &bytes(IV), &[0; 17])).unwrap();
    }
}
