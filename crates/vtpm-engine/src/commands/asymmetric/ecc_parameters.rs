//! TPM2_ECC_Parameters: Part 3, clause 14.6, revision 1.59.

use crate::commands::command;
use crate::crypto::ecc::Curve;
use crate::crypto::hash::HashAlg;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Alg, EccParameter, EccScheme, KdfScheme, Rc, Scheme, structure};

command! {
    /// Returns the constants of a curve.
    #[doc(alias = "TPM2_ECC_Parameters")]
    Command {
        handles {}
        parameters {
            /// The curve.
            curve_id: Curve,
        }
    }
    Response {
        parameters {
            /// Its constants.
            parameters: AlgorithmDetailEcc,
        }
    }
}

structure! {
    /// `TPMS_ALGORITHM_DETAIL_ECC` (Part 2, clause 11.2.5.5).
    #[doc(alias = "TPMS_ALGORITHM_DETAIL_ECC")]
    pub struct AlgorithmDetailEcc {
        /// The curve.
        pub curve_id: Curve,
        /// Size of a key in bits.
        pub key_size: u16,
        /// The key derivation function that goes with the curve.
        pub kdf: Option<KdfScheme>,
        /// The only signing scheme of the curve; these curves allow all.
        pub sign: EccScheme,
        /// The field's prime.
        pub p: EccParameter,
        /// Coefficient a.
        pub a: EccParameter,
        /// Coefficient b.
        pub b: EccParameter,
        /// X coordinate of the generator.
        pub g_x: EccParameter,
        /// Y coordinate of the generator.
        pub g_y: EccParameter,
        /// Order of the generator.
        pub n: EccParameter,
        /// Cofactor.
        pub h: EccParameter,
    }
}

/// Runs the command.
pub(crate) fn run(_: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let curve = command.curve_id;
    let constants = curve.parameters().map_err(|_| Rc::FAILURE)?;
    let hash = match curve {
        Curve::P224 | Curve::P256 => HashAlg::Sha256,
        Curve::P384 => HashAlg::Sha384,
        Curve::P521 => HashAlg::Sha512,
    };
    let parameters = AlgorithmDetailEcc {
        curve_id: curve,
        key_size: curve.bits() as u16,
        kdf: Some(KdfScheme { kdf: Alg::KDF1_SP800_56A, hash }),
        sign: EccScheme(Scheme::Null),
        p: constants.p.into(),
        a: constants.a.into(),
        b: constants.b.into(),
        g_x: constants.gx.into(),
        g_y: constants.gy.into(),
        n: constants.n.into(),
        h: constants.h.into(),
    };
    Ok(Response { parameters })
}

#[cfg(test)]
mod tests {
    use super::AlgorithmDetailEcc;
    use crate::crypto::ecc::{Curve, Point, is_on_curve};
    use crate::profile::Algorithms;
    use crate::test_util::{Client, command};
    use crate::wire::{Cc, Rc, Reader};

    #[test]
    fn each_curve_has_its_constants_padded_to_the_field() {
        let mut client = Client::started();
        let algorithms = Algorithms::default();
        for curve in Curve::ALL {
            let response = client.run(&command(Cc::ECC_PARAMETERS).put(curve)).unwrap();
            let mut reader = Reader::new(&response.parameters, &algorithms);
            let detail = reader.get::<AlgorithmDetailEcc>().unwrap();
            assert!(reader.is_empty());
            assert_eq!(detail.curve_id, curve);
            assert_eq!(usize::from(detail.key_size), curve.bits());
            for constant in [&detail.p, &detail.a, &detail.b, &detail.g_x, &detail.n] {
                assert_eq!(constant.len(), curve.bytes());
            }
            let generator = Point { x: detail.g_x.to_vec(), y: detail.g_y.to_vec() };
            assert!(is_on_curve(curve, &generator));
            assert_eq!(detail.h.as_bytes(), [1]);
        }
    }

    #[test]
    fn an_unknown_curve_is_refused() {
        let mut client = Client::started();
        assert_eq!(client.rc(&command(Cc::ECC_PARAMETERS).put(9u16)), Rc::CURVE.parameter(1));
    }

    #[test]
    fn a_curve_that_the_profile_lacks_is_refused() {
        let mut profile = crate::Profile::few_slots();
        profile.algorithms = profile.algorithms.without_curve(Curve::P521);
        let mut client = Client::with_profile(profile);
        client.run(&command(Cc::STARTUP).put(0u16)).unwrap();
        let rc = client.rc(&command(Cc::ECC_PARAMETERS).put(Curve::P521));
        assert_eq!(rc, Rc::CURVE.parameter(1));
    }
}
