//! Both compilers compute the same bits: random straight-line programs over all numeric instructions.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "small numbers of tests"
)]

use proptest::prelude::*;
use protocol::outcome::Outcome;

use super::tests::{run_both, start};
use crate::cases::cases;

/// Instructions by the types that they take and give. Locals 0 to 3 are `i32`, then `i64`, `f32`, `f64`.
const OPERATORS: &[(&str, &str, &str)] = &[
    (
        "i32 i32",
        "i32",
        "i32.add i32.sub i32.mul i32.and i32.or i32.xor i32.shl i32.shr_s i32.shr_u i32.rotl i32.rotr i32.eq i32.ne \
         i32.lt_s i32.lt_u i32.gt_s i32.gt_u i32.le_s i32.le_u i32.ge_s i32.ge_u",
    ),
    ("i32", "i32", "i32.clz i32.ctz i32.popcnt i32.eqz i32.extend8_s i32.extend16_s"),
    (
        "i64 i64",
        "i64",
        "i64.add i64.sub i64.mul i64.and i64.or i64.xor i64.shl i64.shr_s i64.shr_u i64.rotl i64.rotr",
    ),
    (
        "i64 i64",
        "i32",
        "i64.eq i64.ne i64.lt_s i64.lt_u i64.gt_s i64.gt_u i64.le_s i64.le_u i64.ge_s i64.ge_u",
    ),
    ("i64", "i64", "i64.clz i64.ctz i64.popcnt i64.extend8_s i64.extend16_s i64.extend32_s"),
    ("i64", "i32", "i64.eqz i32.wrap_i64"),
    ("i32", "i64", "i64.extend_i32_s i64.extend_i32_u"),
    ("f32 f32", "f32", "f32.add f32.sub f32.mul f32.div f32.min f32.max f32.copysign"),
    ("f32 f32", "i32", "f32.eq f32.ne f32.lt f32.gt f32.le f32.ge"),
    ("f32", "f32", "f32.abs f32.neg f32.ceil f32.floor f32.trunc f32.nearest f32.sqrt"),
    ("f64 f64", "f64", "f64.add f64.sub f64.mul f64.div f64.min f64.max f64.copysign"),
    ("f64 f64", "i32", "f64.eq f64.ne f64.lt f64.gt f64.le f64.ge"),
    ("f64", "f64", "f64.abs f64.neg f64.ceil f64.floor f64.trunc f64.nearest f64.sqrt"),
    ("f64", "f32", "f32.demote_f64"),
    ("f32", "f64", "f64.promote_f32"),
    ("f32", "i32", "i32.trunc_sat_f32_s i32.trunc_sat_f32_u i32.reinterpret_f32"),
    ("f64", "i32", "i32.trunc_sat_f64_s i32.trunc_sat_f64_u"),
    ("f32", "i64", "i64.trunc_sat_f32_s i64.trunc_sat_f32_u"),
    ("f64", "i64", "i64.trunc_sat_f64_s i64.trunc_sat_f64_u i64.reinterpret_f64"),
    ("i32", "f32", "f32.convert_i32_s f32.convert_i32_u f32.reinterpret_i32"),
    ("i64", "f32", "f32.convert_i64_s f32.convert_i64_u"),
    ("i32", "f64", "f64.convert_i32_s f64.convert_i32_u"),
    ("i64", "f64", "f64.convert_i64_s f64.convert_i64_u f64.reinterpret_i64"),
];

/// One instruction: which, from which locals, to which.
#[derive(Debug, Clone)]
struct Step {
    params: Vec<&'static str>,
    result: &'static str,
    operator: &'static str,
    locals: [usize; 3],
}

fn local(ty: &str, place: usize) -> usize {
    let first = match ty {
        "i32" => 0,
        "i64" => 4,
        "f32" => 8,
        _ => 12,
    };
    first + place
}

impl Step {
    fn text(&self) -> String {
        let [a, b, to] = self.locals;
        let params = self.params.iter().zip([a, b]);
        let params: String =
            params.map(|(ty, place)| format!(" (local.get {})", local(ty, place))).collect();
        format!("(local.set {} ({}{params}))", local(self.result, to), self.operator)
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let all: Vec<_> = OPERATORS
        .iter()
        .flat_map(|(params, result, names)| names.split(' ').map(|name| (*params, *result, name)))
        .filter(|(_, _, name)| !name.is_empty())
        .collect();
    let step = (prop::sample::select(all), [0..4_usize, 0..4, 0..4]).prop_map(
        |((params, result, operator), locals)| Step {
            params: params.split(' ').collect(),
            result,
            operator,
            locals,
        },
    );
    prop::collection::vec(step, 1..120)
}

/// Bits that are special to some instruction, or any.
fn bits() -> impl Strategy<Value = u64> {
    let special = [
        0,
        1,
        u64::MAX,
        1 << 63,
        0x7ff0_0000_0000_0000,
        0xfff0_0000_0000_0001,
        0x7ff8_0000_0000_0000,
        0xfff7_efe6_1234_5678,
        0x8000_0000_7f80_0001,
        0xffc1_2345_ffa1_2345,
        0x43e0_0000_4f00_0000,
    ];
    prop_oneof![prop::sample::select(special.to_vec()), any::<u64>()]
}

/// A program that computes, and then prints all sixteen locals.
fn program(bits: &[u64], steps: &[Step]) -> Vec<u8> {
    let mut body = String::new();
    for (place, bits) in bits.iter().enumerate() {
        let low = bits.cast_signed() as i32;
        let value = match place / 4 {
            0 => format!("i32.const {low}"),
            1 => format!("i64.const {}", bits.cast_signed()),
            2 => format!("f32.reinterpret_i32 (i32.const {low})"),
            _ => format!("f64.reinterpret_i64 (i64.const {})", bits.cast_signed()),
        };
        body.push_str(&format!("(local.set {place} ({value}))"));
    }
    for step in steps {
        body.push_str(&step.text());
    }
    for place in 0..16 {
        let ty = ["i32", "i64", "f32", "f64"][place / 4];
        body.push_str(&format!("({ty}.store (i32.const {}) (local.get {place}))", 64 + 8 * place));
    }
    let text = format!(
        r#"(module (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1) (data (i32.const 0) "\40\00\00\00\80\00\00\00")
        (func (export "_start") (local i32 i32 i32 i32 i64 i64 i64 i64 f32 f32 f32 f32 f64 f64 f64 f64)
        {body} (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#
    );
    wat::parse_str(text).unwrap()
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn both_compilers_compute_the_same_bits(bits in prop::collection::vec(bits(), 16), steps in steps()) {
        let ran = run_both(&program(&bits, &steps), &start(&[], b""));
        prop_assert_eq!(ran.outcome, Outcome::Exit(0));
        prop_assert_eq!(ran.output.stdout.len(), 128);
    }
}
