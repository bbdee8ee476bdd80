//! Primitives, signatures, attestation, sequences (Part 3, clauses 14, 15, 17 to 21).

use crate::cc;
use crate::crypto::Hash;
use crate::keys;
use crate::step::{Piece, Seq, cmd};
use crate::templates::*;

pub(super) fn all() -> Vec<Seq> {
    vec![
        rsa_encryption(),
        ecc_primitives(),
        two_phase(),
        symmetric_ciphers(),
        hashes(),
        hmacs(),
        cmac(),
        sequences(),
        signatures(),
        verification(),
        super::attestation::attestation(),
        super::attestation::nv_certification(),
        super::attestation::command_audit(),
        super::attestation::session_audit(),
        super::attestation::x509(),
        super::attestation::commit(),
    ]
}

pub(super) const USE: u32 = USER_WITH_AUTH;
/// A ticket of no hierarchy: `TPM_ST_HASHCHECK`, `TPM_RH_NULL`, empty.
pub(super) const NO_TICKET: &[u8] = &[0x80, 0x24, 0x40, 0, 0, 7, 0, 0];

fn rsa_encryption() -> Seq {
    let mut s = Seq::new("RSA encryption");
    let schemes: Vec<Vec<u8>> = vec![
        NONE.to_vec(),
        vec![0, 0x15],
        scheme(OAEP, Hash::Sha256),
        scheme(OAEP, Hash::Sha1),
        scheme(OAEP, Hash::Sha512),
        scheme(RSASSA, Hash::Sha256),
        vec![0, 0x17, 0, 0x10],
        vec![0, 0x99],
    ];
    for key_scheme in [NONE.to_vec(), vec![0, 0x15], scheme(OAEP, Hash::Sha256)] {
        for big in [true, false] {
            let key = if big {
                s.run(rsa_key(USE | DECRYPT, &key_scheme, b""))
            } else {
                s.run(rsa_small_key(USE | DECRYPT, &key_scheme))
            };
            let size = if big { 256 } else { 128 };
            for scheme in &schemes {
                for (message, label) in [
                    (&b"message"[..], &b""[..]),
                    (b"", b"label\0"),
                    (b"x", b"label"),
                    (&[0; 62], b""),
                    (&[1; 130], b"\0"),
                    (&[0xff; 128], b""),
                    (&[0; 256], b""),
                    (&[0; 257], b""),
                ] {
                    let out = s.run(cmd(cc::RSA_ENCRYPT).of(key).b2(message).b(scheme).b2(label));
                    s.run(
                        cmd(cc::RSA_DECRYPT).of(key).pw().out(out, "outData").b(scheme).b2(label),
                    );
                    s.run(
                        cmd(cc::RSA_DECRYPT)
                            .of(key)
                            .pw()
                            .p(Piece::Cross(out, "outData"))
                            .b(scheme)
                            .b2(label),
                    );
                }
                for cipher in [
                    vec![0; size],
                    vec![1; size],
                    vec![0xff; size],
                    vec![1; size - 1],
                    vec![1; size + 1],
                    vec![],
                    keys::RSA_2048_N.to_vec(),
                ] {
                    s.run(cmd(cc::RSA_DECRYPT).of(key).pw().b2(cipher).b(scheme).b2([]));
                }
            }
            s.run(cmd(cc::RSA_DECRYPT).of(key).pwd(b"x").b2([1; 256]).b(NONE).b2([]));
            flush(&mut s, key);
        }
    }
    for key in [rsa_key(USE | SIGN, NONE, b""), p256_key(USE | DECRYPT, NONE, b"")] {
        let key = s.run(key);
        s.run(cmd(cc::RSA_ENCRYPT).of(key).b2(b"m").b(NONE).b2([]));
        s.run(cmd(cc::RSA_DECRYPT).of(key).pw().b2([1; 256]).b(NONE).b2([]));
        flush(&mut s, key);
    }
    s
}

pub(super) fn p256_point() -> Vec<u8> {
    b2(&[b2(keys::P256_X), b2(keys::P256_Y)].concat())
}

fn ecc_primitives() -> Seq {
    let mut s = Seq::new("ECDH");
    let points = [
        p256_point(),
        b2(&[b2(keys::P384_X), b2(keys::P384_Y)].concat()),
        b2(&[b2(&[0; 32]), b2(&[0; 32])].concat()),
        b2(&[b2(&[1; 32]), b2(&[2; 32])].concat()),
        b2(&[b2(&[]), b2(&[])].concat()),
        b2(&[b2(keys::P256_X), b2(&[])].concat()),
        b2(&[b2(&[0xff; 32]), b2(&[0xff; 32])].concat()),
        b2(&[]),
        vec![0, 0],
    ];
    for key in [
        p256_key(USE | DECRYPT, NONE, b""),
        p256_key(USE | DECRYPT, &scheme(ECDH, Hash::Sha256), b""),
        p256_key(USE | SIGN, NONE, b""),
        p384_key(USE | DECRYPT, NONE),
        p256_key(USE | DECRYPT, &scheme(ECMQV, Hash::Sha256), b""),
        rsa_key(USE | DECRYPT, NONE, b""),
        external(&[], &p256_public(USE | DECRYPT, NONE), NULL),
    ] {
        let id = s.run(key);
        for point in &points {
            s.run(cmd(cc::ECDH_ZGEN).of(id).pw().b(point));
        }
        let pair = s.run(cmd(cc::ECDH_KEYGEN).of(id));
        s.run(cmd(cc::ECDH_ZGEN).of(id).pw().out(pair, "pubPoint"));
        s.run(cmd(cc::ECDH_ZGEN).of(id).pw().p(Piece::Cross(pair, "pubPoint")));
        flush(&mut s, id);
    }
    for curve in 0..0x30 {
        s.run(cmd(cc::ECC_PARAMETERS).u16(curve));
    }
    s
}

fn two_phase() -> Seq {
    let mut s = Seq::new("two-phase key exchange");
    for key in [
        p256_key(USE | DECRYPT, NONE, b""),
        p256_key(USE | DECRYPT, &scheme(ECMQV, Hash::Sha256), b""),
        p256_key(USE | DECRYPT, &scheme(ECDH, Hash::Sha256), b""),
    ] {
        let id = s.run(key);
        for alg in [ECDH, ECMQV, ECDSA, 0x10, 0x1b] {
            let ephemeral = s.run(cmd(cc::EC_EPHEMERAL).u16(3));
            s.run(
                cmd(cc::ZGEN_2PHASE)
                    .of(id)
                    .pw()
                    .b(p256_point())
                    .out(ephemeral, "Q")
                    .u16(alg)
                    .u16(99),
            );
            s.run(
                cmd(cc::ZGEN_2PHASE)
                    .of(id)
                    .pw()
                    .b(p256_point())
                    .b(p256_point())
                    .u16(alg)
                    .out(ephemeral, "counter"),
            );
            s.run(
                cmd(cc::ZGEN_2PHASE)
                    .of(id)
                    .pw()
                    .b(p256_point())
                    .b(p256_point())
                    .u16(alg)
                    .out(ephemeral, "counter"),
            );
        }
        let ephemeral = s.run(cmd(cc::EC_EPHEMERAL).u16(3));
        s.run(
            cmd(cc::ZGEN_2PHASE)
                .of(id)
                .pw()
                .b(b2(&[b2(&[1; 32]), b2(&[1; 32])].concat()))
                .b(p256_point())
                .u16(ECDH)
                .out(ephemeral, "counter"),
        );
        flush(&mut s, id);
    }
    for curve in 0..0x22 {
        s.run(cmd(cc::EC_EPHEMERAL).u16(curve));
    }
    s
}

fn symmetric_ciphers() -> Seq {
    let mut s = Seq::new("symmetric encryption");
    let other = s.run(aes_key(USE | SIGN | DECRYPT, 192, 0x43));
    s.run(cmd(cc::ENCRYPT_DECRYPT).of(other).pw().u8(0).u16(0x43).b2([1; 16]).b2(b"data"));
    for bits in [128, 256] {
        for key_mode in [0, 0x40, 0x41, 0x42, 0x43, 0x44] {
            let key = s.run(aes_key(USE | SIGN | DECRYPT, bits, key_mode));
            for mode in [0x10, 0x40, 0x41, 0x42, 0x43, 0x44, 0x3f, 0x99] {
                for size in [0, 1, 15, 16, 17, 32, 100] {
                    for (iv, decrypt) in [(16, 0), (16, 1), (0, 0), (15, 1)] {
                        let data: Vec<u8> = (0..size).collect();
                        let iv: Vec<u8> = (0..iv).map(|byte| 0xf8 + byte % 8).collect();
                        s.run(
                            cmd(cc::ENCRYPT_DECRYPT)
                                .of(key)
                                .pw()
                                .u8(decrypt)
                                .u16(mode)
                                .b2(&iv)
                                .b2(&data),
                        );
                        if size == 32 || size == 17 {
                            s.run(
                                cmd(cc::ENCRYPT_DECRYPT_2)
                                    .of(key)
                                    .pw()
                                    .b2(&data)
                                    .u8(decrypt)
                                    .u16(mode)
                                    .b2(&iv),
                            );
                        }
                    }
                }
            }
            flush(&mut s, key);
        }
    }
    for attributes in [SIGN, DECRYPT, SIGN | DECRYPT | RESTRICTED, DECRYPT | RESTRICTED] {
        let key = s.run(aes_key(USE | attributes, 128, 0x43));
        for decrypt in [0, 1, 2] {
            s.run(
                cmd(cc::ENCRYPT_DECRYPT).of(key).pw().u8(decrypt).u16(0x10).b2([1; 16]).b2(b"data"),
            );
        }
        s.run(cmd(cc::ENCRYPT_DECRYPT).of(key).pw().u8(0).u16(0x10).b2([0xff; 16]).b2([1; 1024]));
        s.run(cmd(cc::ENCRYPT_DECRYPT).of(key).pw().u8(0).u16(0x10).b2([1; 16]).b2([1; 1025]));
        s.run(cmd(cc::ENCRYPT_DECRYPT).of(key).pw().u8(0).u16(0x10).b2([1; 17]).b2([1; 16]));
        flush(&mut s, key);
    }
    let other = s.run(p256_key(USE | DECRYPT, NONE, b""));
    s.run(cmd(cc::ENCRYPT_DECRYPT).of(other).pw().u8(0).u16(0x43).b2([1; 16]).b2(b"data"));
    s.run(cmd(cc::ENCRYPT_DECRYPT_2).of(other).pw().b2(b"data").u8(0).u16(0x43).b2([1; 16]));
    s
}

fn hashes() -> Seq {
    let mut s = Seq::new("hashes");
    for alg in [0, 4, 0xb, 0xc, 0xd, 0x10, 0x12] {
        for size in [0, 1, 55, 56, 63, 64, 65, 111, 112, 127, 128, 129, 1000, 1024, 1025] {
            for hierarchy in [NULL, OWNER] {
                s.run(cmd(cc::HASH).b2(vec![0xa5; size]).u16(alg).u32(hierarchy));
            }
        }
        s.run(cmd(cc::HASH).b2(b"x").u16(alg).u32(0x4000_0002));
        s.run(cmd(cc::HASH).b2([0xff, 0x54, 0x43, 0x47]).u16(alg).u32(OWNER));
        s.run(cmd(cc::HASH).b2([0xff, 0x54, 0x43]).u16(alg).u32(OWNER));
        s.run(cmd(cc::HASH).b2([0xff, 0x54, 0x43, 0x47, 1]).u16(alg).u32(ENDORSEMENT));
    }
    s
}

fn hmacs() -> Seq {
    let mut s = Seq::new("HMAC");
    for key_hash in
        [None, Some(Hash::Sha1), Some(Hash::Sha256), Some(Hash::Sha384), Some(Hash::Sha512)]
    {
        let key_scheme = key_hash.map_or(NONE.to_vec(), |hash| scheme(HMAC, hash));
        for secret in [&b"k"[..], &[3; 64], &[4; 128]] {
            let id = s.run(hmac_key(USE | SIGN, &key_scheme, b"", secret));
            for alg in [4, 0xb, 0xc, 0xd, 0x10, 0x99] {
                s.run(cmd(cc::HMAC).of(id).pw().b2(b"what do ya want for nothing?").u16(alg));
                s.run(cmd(cc::HMAC).of(id).pw().b2([1; 1024]).u16(alg));
                let sequence = s.run(cmd(cc::HMAC_START).of(id).pw().b2(b"auth").u16(alg));
                s.run(cmd(cc::SEQUENCE_UPDATE).of(sequence).pwd(b"auth").b2(b"what do ya want "));
                s.run(
                    cmd(cc::SEQUENCE_COMPLETE)
                        .of(sequence)
                        .pwd(b"auth")
                        .b2(b"for nothing?")
                        .u32(OWNER),
                );
                s.run(cmd(cc::SIGN).of(id).pw().b2([1; 32]).u16(HMAC).u16(alg).b(NO_TICKET));
            }
            s.run(cmd(cc::SIGN).of(id).pw().b2([1; 32]).b(NONE).b(NO_TICKET));
            flush(&mut s, id);
        }
    }
    for key in [
        hmac_key(USE | SIGN | RESTRICTED, &scheme(HMAC, Hash::Sha256), b"", b"k"),
        hmac_key(USE, NONE, b"", b"k"),
        aes_key(USE | SIGN, 128, 0x43),
        p256_key(USE | SIGN, NONE, b""),
    ] {
        let id = s.run(key);
        s.run(cmd(cc::HMAC).of(id).pw().b2(b"x").u16(0xb));
        s.run(cmd(cc::HMAC_START).of(id).pw().b2(b"").u16(0xb));
        flush(&mut s, id);
    }
    s
}

fn cmac() -> Seq {
    let mut s = Seq::new("CMAC");
    for bits in [128, 256] {
        for mode in [0, 0x3f] {
            let id = s.run(aes_key(USE | SIGN, bits, mode));
            for size in [0, 1, 16, 17, 40, 64] {
                for scheme in [0x3f, 0x10, 0xb] {
                    s.run(cmd(cc::HMAC).of(id).pw().b2(vec![2; size]).u16(scheme));
                    let sequence = s.run(cmd(cc::HMAC_START).of(id).pw().b2(b"").u16(scheme));
                    s.run(cmd(cc::SEQUENCE_UPDATE).of(sequence).pw().b2(vec![2; size / 2]));
                    s.run(
                        cmd(cc::SEQUENCE_COMPLETE)
                            .of(sequence)
                            .pw()
                            .b2(vec![2; size - size / 2])
                            .u32(NULL),
                    );
                    flush(&mut s, sequence);
                }
            }
            flush(&mut s, id);
        }
    }
    s
}

fn sequences() -> Seq {
    let mut s = Seq::new("hash and event sequences");
    for alg in [4, 0xb, 0xc, 0xd, 0x10, 0x99] {
        for hierarchy in [NULL, OWNER, PLATFORM] {
            let id = s.run(cmd(cc::HASH_SEQUENCE_START).b2(b"auth").u16(alg));
            s.run(cmd(cc::SEQUENCE_UPDATE).of(id).pwd(b"auth").b2([0xff, 0x54]));
            s.run(cmd(cc::SEQUENCE_UPDATE).of(id).pwd(b"auth").b2([0x43, 0x47]));
            s.run(cmd(cc::SEQUENCE_UPDATE).of(id).pwd(b"wrong").b2([0x43, 0x47]));
            s.run(cmd(cc::SEQUENCE_UPDATE).of(id).pwd(b"auth").b2([1; 1024]));
            s.run(cmd(cc::SEQUENCE_UPDATE).of(id).pwd(b"auth").b2([1; 1025]));
            s.run(cmd(cc::READ_PUBLIC).of(id));
            s.run(cmd(cc::EVENT_SEQUENCE_COMPLETE).h(16).of(id).pw().pwd(b"auth").b2(b"end"));
            s.run(cmd(cc::SEQUENCE_COMPLETE).of(id).pwd(b"auth").b2(b"end").u32(hierarchy));
            s.run(cmd(cc::SEQUENCE_COMPLETE).of(id).pwd(b"auth").b2(b"end").u32(hierarchy));
            flush(&mut s, id);
        }
    }
    for pcr in [16, 0, 23, NULL, 17] {
        let id = s.run(cmd(cc::HASH_SEQUENCE_START).b2(b"").u16(0x10));
        s.run(cmd(cc::SEQUENCE_UPDATE).of(id).pw().b2(b"event"));
        s.run(cmd(cc::SEQUENCE_COMPLETE).of(id).pw().b2(b"end").u32(NULL));
        s.run(cmd(cc::EVENT_SEQUENCE_COMPLETE).h(pcr).of(id).pw().pw().b2(b"end"));
        s.run(cmd(cc::PCR_READ).b(pcrs(Hash::Sha256, [1, 0, 0x83])));
        flush(&mut s, id);
    }
    let key = s.run(aes_key(USE | SIGN, 128, 0x43));
    s.run(cmd(cc::SEQUENCE_UPDATE).of(key).pw().b2(b"event"));
    s.run(cmd(cc::SEQUENCE_COMPLETE).of(key).pw().b2(b"end").u32(NULL));
    s.run(cmd(cc::EVENT_SEQUENCE_COMPLETE).h(16).of(key).pw().pw().b2(b"end"));
    // A ticket lets a restricted key sign.
    flush(&mut s, key);
    let id = s.run(cmd(cc::HASH_SEQUENCE_START).b2(b"").u16(0xb));
    s.run(cmd(cc::SEQUENCE_UPDATE).of(id).pw().b2(b"a message"));
    let done = s.run(cmd(cc::SEQUENCE_COMPLETE).of(id).pw().b2(b" in parts").u32(OWNER));
    let hash = s.run(cmd(cc::HASH).b2(b"a message in parts").u16(0xb).u32(OWNER));
    let restricted = s.run(primary(
        OWNER,
        b"",
        &ecc(
            FIXED_TPM | FIXED_PARENT | ORIGIN | USE | SIGN | RESTRICTED,
            NONE,
            &scheme(ECDSA, Hash::Sha256),
        ),
    ));
    s.run(cmd(cc::SIGN).of(restricted).pw().out(done, "result").b(NONE).out(done, "validation"));
    s.run(cmd(cc::SIGN).of(restricted).pw().out(hash, "outHash").b(NONE).out(hash, "validation"));
    s.run(cmd(cc::SIGN).of(restricted).pw().out(hash, "outHash").b(NONE).b(NO_TICKET));
    s.run(cmd(cc::SIGN).of(restricted).pw().b2([1; 32]).b(NONE).out(hash, "validation"));
    s
}

pub(super) fn signing_keys() -> Vec<crate::step::Command> {
    let mut keys = vec![rsa_small_key(USE | SIGN, NONE)];
    for scheme in [NONE.to_vec(), scheme(RSASSA, Hash::Sha256), scheme(RSAPSS, Hash::Sha384)] {
        keys.push(rsa_key(USE | SIGN, &scheme, b""));
    }
    for scheme in [
        NONE.to_vec(),
        scheme(ECDSA, Hash::Sha256),
        scheme(ECSCHNORR, Hash::Sha256),
        scheme(ECDSA, Hash::Sha1),
    ] {
        keys.push(p256_key(USE | SIGN, &scheme, b""));
    }
    keys.push(p384_key(USE | SIGN, NONE));
    keys
}

fn signatures() -> Seq {
    let mut s = Seq::new("signatures by fixed keys, verified here and there");
    for key in signing_keys() {
        let id = s.run(key);
        for alg in [0x10, RSASSA, RSAPSS, ECDSA, ECSCHNORR, HMAC, 0x1b, ECDAA, RSAES, 0x99] {
            for hash in [Hash::Sha1, Hash::Sha256, Hash::Sha384, Hash::Sha512] {
                for size in [hash.size(), hash.size() - 1] {
                    let mut command = cmd(cc::SIGN).of(id).pw().b2(vec![0xd1; size]).u16(alg);
                    if alg != 0x10 {
                        command = command.u16(hash.id());
                    }
                    if alg == ECDAA {
                        command = command.u16(0);
                    }
                    let signed = s.run(command.b(NO_TICKET));
                    s.run(
                        cmd(cc::VERIFY_SIGNATURE)
                            .of(id)
                            .b2(vec![0xd1; size])
                            .out(signed, "signature"),
                    );
                    s.run(
                        cmd(cc::VERIFY_SIGNATURE)
                            .of(id)
                            .b2(vec![0xd1; size])
                            .p(Piece::Cross(signed, "signature")),
                    );
                    s.run(
                        cmd(cc::VERIFY_SIGNATURE)
                            .of(id)
                            .b2(vec![0xd2; size])
                            .out(signed, "signature"),
                    );
                }
            }
        }
        s.run(cmd(cc::SIGN).of(id).pw().b2([]).b(NONE).b(NO_TICKET));
        s.run(cmd(cc::SIGN).of(id).pwd(b"wrong").b2([1; 32]).b(NONE).b(NO_TICKET));
        s.run(cmd(cc::SIGN).of(id).pw().b2([1; 32]).b(NONE).b([0x80, 0x22, 0x40, 0, 0, 7, 0, 0]));
        s.run(cmd(cc::SIGN).of(id).pw().b2([1; 32]).b(NONE).b([0x80, 0x24, 0x40, 0, 0, 1, 0, 0]));
        s.run(
            cmd(cc::SIGN)
                .of(id)
                .pw()
                .b2([1; 32])
                .b(NONE)
                .b([0x80, 0x24, 0x40, 0, 0, 1, 0, 2, 1, 1]),
        );
        flush(&mut s, id);
    }
    for key in [
        p256_key(USE | DECRYPT, NONE, b""),
        rsa_key(USE | DECRYPT, NONE, b""),
        external(&[], &p256_public(USE | SIGN, NONE), NULL),
        aes_key(USE | SIGN, 128, 0x43),
    ] {
        let id = s.run(key);
        s.run(cmd(cc::SIGN).of(id).pw().b2([1; 32]).b(scheme(ECDSA, Hash::Sha256)).b(NO_TICKET));
        s.run(cmd(cc::SIGN).of(id).pw().b2([1; 32]).b(NONE).b(NO_TICKET));
        flush(&mut s, id);
    }
    s
}

fn verification() -> Seq {
    let mut s = Seq::new("verification of damaged signatures");
    for key in signing_keys() {
        let id = s.run(key);
        for alg in [RSASSA, RSAPSS, ECDSA, ECSCHNORR, HMAC, ECDAA, 0x10, 0x99] {
            for size in [0, 1, 31, 32, 33, 48, 127, 128, 129, 255, 256, 257] {
                let mut command = cmd(cc::VERIFY_SIGNATURE)
                    .of(id)
                    .b2([1; 32])
                    .u16(alg)
                    .u16(0xb)
                    .b2(vec![1; size]);
                if matches!(alg, ECDSA | ECSCHNORR | ECDAA) {
                    command = command.b2(vec![2; size]);
                }
                s.run(command);
            }
        }
        s.run(
            cmd(cc::VERIFY_SIGNATURE)
                .of(id)
                .b2([1; 32])
                .u16(ECDSA)
                .u16(0xb)
                .b2([0; 32])
                .b2([0; 32]),
        );
        s.run(
            cmd(cc::VERIFY_SIGNATURE)
                .of(id)
                .b2([1; 32])
                .u16(ECDSA)
                .u16(0xb)
                .b2([0xff; 32])
                .b2([0xff; 32]),
        );
        s.run(cmd(cc::VERIFY_SIGNATURE).of(id).b2([1; 32]).u16(ECDSA).u16(0x10));
        flush(&mut s, id);
    }
    let id = s.run(hmac_key(USE | SIGN, &scheme(HMAC, Hash::Sha256), b"", b"k"));
    let signed = s.run(cmd(cc::SIGN).of(id).pw().b2([1; 32]).b(NONE).b(NO_TICKET));
    s.run(cmd(cc::VERIFY_SIGNATURE).of(id).b2([1; 32]).out(signed, "signature"));
    s.run(cmd(cc::VERIFY_SIGNATURE).of(id).b2([2; 32]).out(signed, "signature"));
    let public = s.run(external(&[], &p256_public(USE | SIGN, NONE), OWNER));
    let private = s.run(p256_key(USE | SIGN, &scheme(ECDSA, Hash::Sha256), b""));
    let signed = s.run(cmd(cc::SIGN).of(private).pw().b2([1; 32]).b(NONE).b(NO_TICKET));
    s.run(cmd(cc::VERIFY_SIGNATURE).of(public).b2([1; 32]).p(Piece::Cross(signed, "signature")));
    s
}
