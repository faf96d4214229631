use wasmparser::{Operator, Validator};

use super::*;
use crate::admission::{FEATURES, Limits, admit};

fn instrumented(wasm: &[u8]) -> Vec<u8> {
    let admitted = admit(wasm, &Limits::default()).unwrap();
    let bytes = instrument(&admitted, Purpose::Run).unwrap();
    Validator::new_with_features(FEATURES).validate_all(&bytes).unwrap();
    bytes
}

#[test]
fn every_example_is_still_valid() {
    for example in crate::guests::EXAMPLES.iter().chain(crate::guests::HOSTILE) {
        let bytes = instrumented(example.wasm);
        assert!(bytes.len() > example.wasm.len(), "{}", example.name);
    }
}

#[test]
fn awkward_code_is_still_valid() {
    for body in [
        "(func (export \"_start\"))",
        "(func (export \"_start\") return unreachable return)",
        "(func (export \"_start\") (local i32) loop br 0 end i32.const 1 local.set 0)",
        "(func (export \"_start\") (local i32) block loop local.get 0 br_if 1 br 0 end end)",
        "(func (export \"_start\") call $two drop drop) (func $two (result i32 i64) call $two return)",
        "(func (export \"_start\") call $f drop) (func $f (result i32) block i32.const 1 return end call $f)",
        "(func (export \"_start\") (drop (if (result i32) (call $c) (then (call $c) return) (else i32.const 2)))) (func $c (result i32) i32.const 1)",
        "(memory 1) (func (export \"_start\") unreachable memory.grow drop memory.fill)",
        "(memory 1) (func (export \"_start\") (drop (memory.grow (i32.const 1))) (memory.copy (i32.const 0) (i32.const 1) (i32.const 2)))",
        "(memory 1) (data $d \"abc\") (func (export \"_start\") (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)) data.drop $d)",
        "(func (export \"_start\") (drop (f64.promote_f32 (f32.demote_f64 (f64.const nan)))) (drop (f32.demote_f64 (f64.const 1))))",
        "(table 3 funcref) (elem $e func 0) (func (export \"_start\") (table.init $e (i32.const 0) (i32.const 0) (i32.const 1)) (table.copy (i32.const 0) (i32.const 0) (i32.const 1)) elem.drop $e)",
        "(global $g (mut i32) (i32.const 7)) (func (export \"_start\") i32.const 1 global.set $g)",
        "(func (export \"_start\") i32.const 1 br_table 0 0 0)",
    ] {
        instrumented(&wat::parse_str(format!("(module {body})")).unwrap());
    }
}

#[test]
fn custom_sections_and_other_exports_are_gone() {
    let wat =
        r#"(module (func $named (export "_start")) (func (export "other")) (@custom "x" "y"))"#;
    let bytes = instrumented(&wat::parse_str(wat).unwrap());
    let text: Vec<_> =
        bytes.windows(5).filter(|window| *window == b"other" || *window == b"named").collect();
    assert!(text.is_empty());
}

/// A value for each kind of immediate, so that every operator can be made from its declaration.
trait Sample {
    fn sample() -> Self;
}

macro_rules! samples {
    ($($ty:ty = $value:expr),* $(,)?) => {
        $(impl Sample for $ty { fn sample() -> Self { $value } })*
    };
}

samples! {
    u32 = 0, i32 = 0, i64 = 0,
    wasmparser::Ieee32 = 0.0_f32.into(), wasmparser::Ieee64 = 0.0_f64.into(),
    wasmparser::BlockType = wasmparser::BlockType::Empty,
    wasmparser::MemArg = wasmparser::MemArg { align: 0, max_align: 0, offset: 0, memory: 0 },
    wasmparser::ValType = wasmparser::ValType::I32,
}

macro_rules! table {
    ($(@$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {{
        let mut operators = Vec::with_capacity(256);
        $(table!(one operators @$proposal $op $({ $($arg: $argty),* })?);)*
        operators
    }};
    (one $all:ident @mvp BrTable $($rest:tt)*) => {};
    (one $all:ident @mvp $($rest:tt)*) => { table!(push $all $($rest)*) };
    (one $all:ident @sign_extension $($rest:tt)*) => { table!(push $all $($rest)*) };
    (one $all:ident @saturating_float_to_int $($rest:tt)*) => { table!(push $all $($rest)*) };
    (one $all:ident @bulk_memory $($rest:tt)*) => { table!(push $all $($rest)*) };
    (one $all:ident @$proposal:ident $($rest:tt)*) => {};
    (push $all:ident $op:ident $({ $($arg:ident: $argty:ty),* })?) => {
        $all.push(Operator::$op $({ $($arg: <$argty as Sample>::sample()),* })?)
    };
}

#[test]
fn every_operator_of_the_features_that_are_on_has_a_cost() {
    let operators = wasmparser::for_each_operator!(table);
    assert!(operators.len() > 180, "{}", operators.len());
    for operator in operators {
        let cost = cost::operator(&operator);
        assert!(cost.is_some(), "{operator:?}");
        let free = matches!(
            operator,
            Operator::Nop
                | Operator::Block { .. }
                | Operator::Loop { .. }
                | Operator::Else
                | Operator::End
                | Operator::Unreachable
        );
        assert_eq!(cost == Some(0), free, "{operator:?}");
    }
}

#[test]
fn an_operator_of_a_feature_that_is_off_has_none() {
    assert_eq!(cost::operator(&Operator::AtomicFence), None);
    assert_eq!(cost::operator(&Operator::ReturnCall { function_index: 0 }), None);
}

mod properties {
    use proptest::prelude::*;

    use super::*;
    use crate::cases::cases;

    fn modules() -> Vec<&'static [u8]> {
        ["hostile-loop", "hostile-trap", "hostile-output", "wordfreq"]
            .map(|name| crate::guests::example(name).unwrap())
            .to_vec()
    }

    proptest! {
        #![proptest_config(cases(1_000))]

        #[test]
        fn whatever_is_admitted_is_still_valid_when_it_was_rewritten(
            module in prop::sample::select(modules()),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut module = module.to_vec();
            for (place, value) in changes {
                *place.get_mut(&mut module) = value;
            }
            if let Ok(admitted) = admit(&module, &Limits::default()) {
                let bytes = instrument(&admitted, Purpose::Run).unwrap();
                prop_assert!(Validator::new_with_features(FEATURES).validate_all(&bytes).is_ok());
            }
        }

        #[test]
        fn bytes_of_any_kind_are_refused_or_admitted_but_nothing_breaks(tail in prop::collection::vec(any::<u8>(), 0..200)) {
            let module = [b"\0asm\x01\0\0\0".as_slice(), &tail].concat();
            prop_assert!(admit(&module, &Limits::default()).is_err());
        }
    }
}
