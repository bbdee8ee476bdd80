//! Attestation, audit, certificates, commitments (Part 3, clauses 18, 19, 21).

use super::crypto::{NO_TICKET, USE, p256_point, signing_keys};
use super::start_session;
use crate::cc;
use crate::crypto::Hash;
use crate::keys;
use crate::step::{AUDIT, CONTINUE, EXCLUSIVE, Piece, RESET, Seq, cmd, hmac};
use crate::templates::*;

#[allow(clippy::too_many_lines, reason = "a sequence reads from top to bottom")]
pub(super) fn attestation() -> Seq {
    let mut s = Seq::new("attestation");
    let restricted = FIXED_TPM | FIXED_PARENT | ORIGIN | USE | SIGN | RESTRICTED;
    let ak =
        s.run(primary(ENDORSEMENT, b"ak", &ecc(restricted, NONE, &scheme(ECDSA, Hash::Sha256))));
    let key = s.run(primary(OWNER, b"key", &ecc(STORAGE, AES128, NONE)));
    for scheme in [
        NONE.to_vec(),
        scheme(ECDSA, Hash::Sha256),
        scheme(ECDSA, Hash::Sha1),
        scheme(RSASSA, Hash::Sha256),
        vec![0, 0x99],
    ] {
        for qualifying in [&b""[..], b"nonce", &[7; 66], &[7; 67]] {
            s.run(cmd(cc::CERTIFY).of(key).of(ak).pwd(b"key").pwd(b"ak").b2(qualifying).b(&scheme));
            s.run(cmd(cc::CERTIFY).of(key).h(NULL).pwd(b"key").pw().b2(qualifying).b(&scheme));
            s.run(
                cmd(cc::QUOTE)
                    .of(ak)
                    .pwd(b"ak")
                    .b2(qualifying)
                    .b(&scheme)
                    .b(pcrs(Hash::Sha256, [3, 0, 1])),
            );
            s.run(
                cmd(cc::QUOTE)
                    .h(NULL)
                    .pw()
                    .b2(qualifying)
                    .b(&scheme)
                    .b(pcrs(Hash::Sha256, [3, 0, 1])),
            );
            s.run(
                cmd(cc::GET_TIME).h(ENDORSEMENT).of(ak).pw().pwd(b"ak").b2(qualifying).b(&scheme),
            );
            s.run(cmd(cc::GET_TIME).h(ENDORSEMENT).h(NULL).pw().pw().b2(qualifying).b(&scheme));
        }
    }
    s.run(
        cmd(cc::QUOTE)
            .of(ak)
            .pwd(b"ak")
            .b2([])
            .b(NONE)
            .u32(2)
            .u16(4)
            .u8(3)
            .b([1, 0, 0])
            .u16(0xb)
            .u8(3)
            .b([1, 0, 0]),
    );
    s.run(cmd(cc::QUOTE).of(ak).pwd(b"ak").b2([]).b(NONE).u32(0));
    s.run(cmd(cc::QUOTE).of(ak).pwd(b"ak").b2([]).b(NONE).b(pcrs(Hash::Sha384, [1, 0, 0])));
    s.run(cmd(cc::QUOTE).of(key).pwd(b"key").b2([]).b(NONE).u32(0));
    s.run(cmd(cc::GET_TIME).h(OWNER).of(ak).pw().pwd(b"ak").b2([]).b(NONE));
    s.run(cmd(cc::CERTIFY).of(key).of(key).pwd(b"key").pwd(b"key").b2([]).b(NONE));
    s.run(cmd(cc::CERTIFY).of(ak).of(ak).pwd(b"ak").pwd(b"ak").b2([]).b(NONE));
    s.run(
        cmd(cc::CERTIFY_CREATION)
            .of(ak)
            .of(key)
            .pwd(b"ak")
            .b2(b"q")
            .out(key, "creationHash")
            .b(NONE)
            .out(key, "creationTicket"),
    );
    s.run(
        cmd(cc::CERTIFY_CREATION)
            .of(ak)
            .of(ak)
            .pwd(b"ak")
            .b2(b"q")
            .out(key, "creationHash")
            .b(NONE)
            .out(key, "creationTicket"),
    );
    s.run(
        cmd(cc::CERTIFY_CREATION)
            .h(NULL)
            .of(key)
            .pw()
            .b2(b"q")
            .b2([1; 32])
            .b(NONE)
            .out(key, "creationTicket"),
    );
    // With keys that all have, signatures are the same everywhere where the message is.
    flush(&mut s, ak);
    for key in signing_keys() {
        let id = s.run(key);
        let quote =
            s.run(cmd(cc::QUOTE).of(id).pw().b2(b"q").b(NONE).b(pcrs(Hash::Sha256, [3, 0, 1])));
        for hash in Hash::ALL {
            // Each verifies its own attestation and the other's.
            let digest = Piece::Sized(vec![Piece::Hash(hash, vec![Piece::Body(quote, "quoted")])]);
            s.run(cmd(cc::VERIFY_SIGNATURE).of(id).p(digest.clone()).out(quote, "signature"));
            let signature = Piece::Cross(quote, "signature");
            s.run(cmd(cc::VERIFY_SIGNATURE).of(id).p(Piece::Other(vec![digest])).p(signature));
        }
        s.run(cmd(cc::CERTIFY).of(id).of(id).pw().pw().b2([]).b(scheme(RSASSA, Hash::Sha256)));
        flush(&mut s, id);
    }
    let id = s.run(hmac_key(USE | SIGN, &scheme(HMAC, Hash::Sha256), b"", b"k"));
    s.run(cmd(cc::QUOTE).of(id).pw().b2(b"q").b(NONE).b(pcrs(Hash::Sha256, [3, 0, 1])));
    s
}

pub(super) fn nv_certification() -> Seq {
    let mut s = Seq::new("certification of NV");
    let index = 0x0180_0020;
    s.run(cmd(cc::NV_DEFINE_SPACE).h(OWNER).pw().b2(b"").b2(super::nv_public(
        index,
        0x0206_0006,
        64,
    )));
    let key = s.run(p256_key(USE | SIGN, &scheme(ECDSA, Hash::Sha256), b""));
    for written in [false, true] {
        if written {
            s.run(cmd(cc::NV_WRITE).h(OWNER).h(index).pw().b2([9; 64]).u16(0));
        }
        for (size, offset) in [(64, 0), (8, 8), (0, 0), (65, 0), (1, 64), (0, 64), (0, 65)] {
            s.run(
                cmd(cc::NV_CERTIFY)
                    .of(key)
                    .h(OWNER)
                    .h(index)
                    .pw()
                    .pw()
                    .b2(b"q")
                    .b(NONE)
                    .u16(size)
                    .u16(offset),
            );
            s.run(
                cmd(cc::NV_CERTIFY)
                    .h(NULL)
                    .h(index)
                    .h(index)
                    .pw()
                    .pw()
                    .b2(b"q")
                    .b(NONE)
                    .u16(size)
                    .u16(offset),
            );
        }
    }
    s.run(
        cmd(cc::NV_CERTIFY).of(key).h(PLATFORM).h(index).pw().pw().b2(b"q").b(NONE).u16(8).u16(0),
    );
    s
}

pub(super) fn command_audit() -> Seq {
    let mut s = Seq::new("audit of commands");
    s.run(cmd(cc::GET_CAPABILITY).u32(4).u32(0).u32(100));
    let audit = |s: &mut Seq| {
        s.run(cmd(cc::GET_COMMAND_AUDIT_DIGEST).h(ENDORSEMENT).h(NULL).pw().pw().b2(b"q").b(NONE));
    };
    audit(&mut s);
    for auth in [OWNER, PLATFORM, ENDORSEMENT] {
        for alg in [0x10, 0xb, 4, 0x99] {
            s.run(cmd(cc::SET_COMMAND_CODE_AUDIT_STATUS).h(auth).pw().u16(alg).u32(0).u32(0));
            s.run(
                cmd(cc::SET_COMMAND_CODE_AUDIT_STATUS)
                    .h(auth)
                    .pw()
                    .u16(alg)
                    .u32(1)
                    .u32(cc::GET_RANDOM)
                    .u32(0),
            );
            audit(&mut s);
        }
        s.run(
            cmd(cc::SET_COMMAND_CODE_AUDIT_STATUS)
                .h(auth)
                .pw()
                .u16(0x10)
                .u32(2)
                .u32(cc::HASH)
                .u32(cc::PCR_READ)
                .u32(1)
                .u32(cc::GET_RANDOM),
        );
        s.run(
            cmd(cc::SET_COMMAND_CODE_AUDIT_STATUS)
                .h(auth)
                .pw()
                .u16(0x10)
                .u32(1)
                .u32(cc::SHUTDOWN)
                .u32(0),
        );
        s.run(
            cmd(cc::SET_COMMAND_CODE_AUDIT_STATUS).h(auth).pw().u16(0x10).u32(1).u32(0x999).u32(0),
        );
        s.run(
            cmd(cc::SET_COMMAND_CODE_AUDIT_STATUS)
                .h(auth)
                .pw()
                .u16(0x10)
                .u32(0)
                .u32(1)
                .u32(cc::SET_COMMAND_CODE_AUDIT_STATUS),
        );
        s.run(cmd(cc::HASH).b2(b"abc").u16(0xb).u32(NULL));
        s.run(cmd(cc::PCR_READ).b(pcrs(Hash::Sha256, [1, 0, 0])));
        s.run(cmd(cc::HASH).b2(b"abc").u16(0x99).u32(NULL));
        audit(&mut s);
        audit(&mut s);
        s.run(cmd(cc::GET_CAPABILITY).u32(4).u32(0).u32(100));
        s.run(cmd(cc::GET_CAPABILITY).u32(6).u32(0x200).u32(64));
    }
    s.run(cmd(cc::GET_COMMAND_AUDIT_DIGEST).h(OWNER).h(NULL).pw().pw().b2(b"q").b(NONE));
    s
}

pub(super) fn session_audit() -> Seq {
    let mut s = Seq::new("audit of sessions");
    let policy = s.run(start_session(1, Hash::Sha256));
    for hash in Hash::ALL {
        let id = s.run(start_session(0, hash));
        let digest = |s: &mut Seq| {
            s.run(
                cmd(cc::GET_SESSION_AUDIT_DIGEST)
                    .h(ENDORSEMENT)
                    .h(NULL)
                    .of(id)
                    .pw()
                    .pw()
                    .b2(b"q")
                    .b(NONE),
            );
        };
        digest(&mut s);
        for attributes in [
            AUDIT | CONTINUE,
            AUDIT | CONTINUE | EXCLUSIVE,
            AUDIT | CONTINUE | RESET,
            CONTINUE | EXCLUSIVE,
            CONTINUE | RESET,
        ] {
            s.run(
                cmd(cc::PCR_READ).auth(hmac(id, attributes, b"")).b(pcrs(Hash::Sha256, [1, 0, 0])),
            );
            digest(&mut s);
            s.run(cmd(cc::HASH).auth(hmac(id, attributes, b"")).b2(b"abc").u16(0xb).u32(NULL));
            digest(&mut s);
        }
        s.run(cmd(cc::HASH).auth(hmac(id, AUDIT, b"")).b2(b"abc").u16(0xb).u32(NULL));
        digest(&mut s);
    }
    s.run(
        cmd(cc::PCR_READ)
            .auth(hmac(policy, AUDIT | CONTINUE, b""))
            .b(pcrs(Hash::Sha256, [1, 0, 0])),
    );
    s.run(
        cmd(cc::GET_SESSION_AUDIT_DIGEST)
            .h(ENDORSEMENT)
            .h(NULL)
            .of(policy)
            .pw()
            .pw()
            .b2(b"q")
            .b(NONE),
    );
    s
}

pub(super) fn x509() -> Seq {
    let mut s = Seq::new("X.509 certification");
    let object = s.run(p256_key(USE | SIGN | X509_SIGN, &scheme(ECDSA, Hash::Sha256), b""));
    let rsa_object = s.run(rsa_key(USE | SIGN | X509_SIGN, &scheme(RSASSA, Hash::Sha256), b""));
    // Issuer, validity, subject, extensions with key usage digitalSignature.
    let name = [0x30, 0x0c, 0x31, 0x0a, 0x30, 0x08, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 0x01, 0x41];
    let validity =
        [&[0x30, 0x1e, 0x17, 0x0d][..], b"250101000000Z", &[0x17, 0x0d], b"350101000000Z"].concat();
    let usage = |bits: u8| {
        vec![
            0xa3, 0x12, 0x30, 0x10, 0x30, 0x0e, 0x06, 0x03, 0x55, 0x1d, 0x0f, 0x01, 0x01, 0xff,
            0x04, 0x04, 0x03, 0x02, 0x07, bits,
        ]
    };
    let partial = |parts: &[&[u8]]| {
        let body = parts.concat();
        [&[0x30, body.len() as u8][..], &body].concat()
    };
    for (object, signer) in
        [(object, object), (rsa_object, object), (object, rsa_object), (rsa_object, rsa_object)]
    {
        for bits in [0x80, 0x40, 0x04, 0] {
            s.run(
                cmd(cc::CERTIFY_X509)
                    .of(object)
                    .of(signer)
                    .pw()
                    .pw()
                    .b2([])
                    .b(NONE)
                    .b2(partial(&[&name, &validity, &name, &usage(bits)])),
            );
        }
        s.run(
            cmd(cc::CERTIFY_X509).of(object).of(signer).pw().pw().b2(b"q").b(NONE).b2(partial(&[
                &name,
                &validity,
                &name,
                &usage(0x80),
            ])),
        );
        s.run(
            cmd(cc::CERTIFY_X509)
                .of(object)
                .of(signer)
                .pw()
                .pw()
                .b2([])
                .b(NONE)
                .b2(partial(&[&name, &validity, &name])),
        );
        s.run(
            cmd(cc::CERTIFY_X509)
                .of(object)
                .of(signer)
                .pw()
                .pw()
                .b2([])
                .b(NONE)
                .b2(partial(&[&name])),
        );
        s.run(
            cmd(cc::CERTIFY_X509).of(object).of(signer).pw().pw().b2([]).b(NONE).b2([0x30, 0x80]),
        );
        s.run(cmd(cc::CERTIFY_X509).of(object).of(signer).pw().pw().b2([]).b(NONE).b2([]));
    }
    s.run(cmd(cc::CERTIFY_X509).of(object).h(NULL).pw().pw().b2([]).b(NONE).b2([]));
    s
}

pub(super) fn commit() -> Seq {
    let mut s = Seq::new("commit and ECDAA");
    let attributes = FIXED_TPM | FIXED_PARENT | ORIGIN | USE | SIGN;
    let daa = [0, 0x1a, 0, 0xb, 0, 0];
    let key = s.run(primary(OWNER, b"", &ecc(attributes, NONE, &daa)));
    let point = p256_point();
    let empty = b2(&[b2(&[]), b2(&[])].concat());
    for p1 in [&vec![0, 0], &point, &empty, &b2(&[b2(&[1; 32]), b2(&[2; 32])].concat())] {
        let made = s.run(cmd(cc::COMMIT).of(key).pw().b(p1).b2([]).b2([]));
        s.run(
            cmd(cc::SIGN)
                .of(key)
                .pw()
                .b2([1; 32])
                .u16(ECDAA)
                .u16(0xb)
                .out(made, "counter")
                .b(NO_TICKET),
        );
        s.run(
            cmd(cc::SIGN)
                .of(key)
                .pw()
                .b2([1; 32])
                .u16(ECDAA)
                .u16(0xb)
                .out(made, "counter")
                .b(NO_TICKET),
        );
        s.run(cmd(cc::SIGN).of(key).pw().b2([1; 32]).u16(ECDAA).u16(0xb).u16(77).b(NO_TICKET));
        s.run(cmd(cc::COMMIT).of(key).pw().b(p1).b2(b"s2").b2([]));
        s.run(cmd(cc::COMMIT).of(key).pw().b(p1).b2([]).b2(keys::P256_Y));
        s.run(cmd(cc::COMMIT).of(key).pw().b(p1).b2(b"s2").b2(keys::P256_Y));
    }
    let other = s.run(p256_key(USE | SIGN, NONE, b""));
    s.run(cmd(cc::COMMIT).of(other).pw().b2([]).b2([]).b2([]));
    flush(&mut s, other);
    let other = s.run(p256_key(USE | SIGN, &daa, b""));
    s.run(cmd(cc::COMMIT).of(other).pw().b2([]).b2([]).b2([]));
    s.run(cmd(cc::QUOTE).of(key).pw().b2(b"q").b(NONE).u32(0));
    s
}
