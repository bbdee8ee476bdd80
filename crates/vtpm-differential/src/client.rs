//! The client's view of one TPM's sessions: authorization of commands, checks of responses
//! (Part 1, clause 19).

use crate::crypto::{Hash, Sym};
use crate::step::{Auth, DECRYPT, ENCRYPT};

/// A session as the client knows it.
#[derive(Clone, Debug)]
pub(crate) struct ClientSession {
    pub(crate) handle: [u8; 4],
    pub(crate) hash: Hash,
    pub(crate) sym: Sym,
    pub(crate) key: Vec<u8>,
    pub(crate) nonce_tpm: Vec<u8>,
    pub(crate) nonce_caller: Vec<u8>,
}

/// An entry of the authorization area with the client's session, if it knows it.
pub(crate) struct Entry<'a> {
    pub(crate) auth: &'a Auth,
    pub(crate) session: Option<ClientSession>,
    pub(crate) raw_handle: u32,
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

fn find<'a>(entries: &'a [Entry<'_>], attribute: u8) -> Option<(usize, &'a ClientSession)> {
    let index = entries.iter().position(|entry| entry.auth.attributes & attribute != 0)?;
    Some((index, entries.get(index)?.session.as_ref()?))
}

/// Encrypts the first parameter if a session says so.
pub(crate) fn encrypt_command(entries: &[Entry<'_>], parameters: &mut [u8]) {
    let Some((index, session)) = find(entries, DECRYPT) else { return };
    let auth = entries[index].auth;
    let key = [&session.key[..], auth.crypt_value.as_ref().unwrap_or(&auth.value)].concat();
    apply(session, &key, &session.nonce_caller, &session.nonce_tpm, parameters, true);
}

fn apply(
    session: &ClientSession,
    key: &[u8],
    newer: &[u8],
    older: &[u8],
    area: &mut [u8],
    encrypt: bool,
) {
    let Some((size, rest)) = area.split_first_chunk_mut::<2>() else { return };
    let Some(data) = rest.get_mut(..usize::from(u16::from_be_bytes(*size))) else { return };
    session.sym.apply(session.hash, key, newer, older, data, encrypt);
}

/// The authorization area with its size. `names` are those of all handles.
pub(crate) fn area(entries: &[Entry<'_>], code: u32, names: &[u8], parameters: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let auth = entry.auth;
        let Some(session) = &entry.session else {
            out.extend_from_slice(&entry.raw_handle.to_be_bytes());
            out.extend_from_slice(&[0, 0, auth.attributes]);
            out.extend(sized(auth.plain.as_deref().unwrap_or(&[])));
            continue;
        };
        let cp_hash = session.hash.of(&[&code.to_be_bytes(), names, parameters]);
        let key = [&session.key[..], &auth.value].concat();
        let extra = if index == 0 { extra_nonces(entries) } else { Vec::new() };
        let mut mac = match &auth.plain {
            Some(plain) => plain.clone(),
            None if key.is_empty() => Vec::new(),
            None => session.hash.hmac(
                &key,
                &[&cp_hash, &session.nonce_caller, &session.nonce_tpm, &extra, &[auth.attributes]],
            ),
        };
        if auth.damaged {
            match mac.last_mut() {
                Some(byte) => *byte ^= 1,
                None => mac.push(1),
            }
        }
        out.extend_from_slice(&session.handle);
        out.extend(sized(&session.nonce_caller));
        out.push(auth.attributes);
        out.extend(sized(&mac));
    }
    [&(out.len() as u32).to_be_bytes()[..], &out].concat()
}

/// The nonces of decrypt and encrypt sessions that the first session vouches for.
fn extra_nonces(entries: &[Entry<'_>]) -> Vec<u8> {
    let decrypt = find(entries, DECRYPT);
    let encrypt = find(entries, ENCRYPT);
    let mut out = Vec::new();
    if let Some((index, session)) = decrypt.filter(|(index, _)| *index != 0) {
        out.extend_from_slice(&session.nonce_tpm);
        if encrypt.is_none_or(|(other, _)| other == index) {
            return out;
        }
    }
    if let Some((_, session)) = encrypt.filter(|(index, _)| *index != 0) {
        out.extend_from_slice(&session.nonce_tpm);
    }
    out
}

/// A session of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) nonce_size: usize,
    pub(crate) attributes: u8,
    pub(crate) mac_size: usize,
    /// Whether the HMAC is right; `None` where there is none to check.
    pub(crate) authentic: Option<bool>,
}

fn take_sized<'a>(area: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (size, rest) = area.split_first_chunk::<2>()?;
    let (bytes, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*size)))?;
    *area = rest;
    Some(bytes)
}

/// Checks a response's sessions, rolls the nonces, decrypts the first parameter in place.
/// `None` when the area has another form.
pub(crate) fn check_response(
    entries: &mut [Entry<'_>],
    code: u32,
    parameters: &mut [u8],
    mut area: &[u8],
) -> Option<Vec<Answer>> {
    let mut answers = Vec::new();
    let rp_bytes = parameters.to_vec();
    for entry in entries.iter_mut() {
        let nonce = take_sized(&mut area)?;
        let (attributes, rest) = area.split_first()?;
        area = rest;
        let mac = take_sized(&mut area)?;
        let authentic = entry.session.as_mut().map(|session| {
            session.nonce_tpm = nonce.to_vec();
            let rp_hash = session.hash.of(&[&[0; 4], &code.to_be_bytes(), &rp_bytes]);
            let value = entry.auth.value_after.as_ref().unwrap_or(&entry.auth.value);
            let key = [&session.key[..], value].concat();
            let parts: [&[u8]; 4] = [&rp_hash, nonce, &session.nonce_caller, &[*attributes]];
            mac == session.hash.hmac(&key, &parts) || (mac.is_empty() && key.is_empty())
        });
        let authentic = authentic.filter(|_| entry.auth.plain.is_none());
        answers.push(Answer {
            nonce_size: nonce.len(),
            attributes: *attributes,
            mac_size: mac.len(),
            authentic,
        });
    }
    if !area.is_empty() {
        return None;
    }
    if let Some((index, session)) = find(entries, ENCRYPT) {
        let auth = entries[index].auth;
        let value = auth.value_after.as_ref().or(auth.crypt_value.as_ref()).unwrap_or(&auth.value);
        let key = [&session.key[..], value].concat();
        apply(session, &key, &session.nonce_tpm, &session.nonce_caller, parameters, false);
    }
    Some(answers)
}
