use super::*;

fn refusal(wat: &str) -> Refusal {
    admit(&wat::parse_str(wat).unwrap(), &Limits::default()).unwrap_err()
}

const START: &str = r#"(func (export "_start"))"#;

#[test]
fn every_built_in_example_is_admitted() {
    for example in crate::guests::EXAMPLES.iter().chain(crate::guests::HOSTILE) {
        let admitted = admit(example.wasm, &Limits::default())
            .unwrap_or_else(|refusal| panic!("{}: {refusal}", example.name));
        assert_eq!(admitted.facts().compiler, Compiler::Cranelift, "{}", example.name);
    }
}

#[test]
fn what_is_not_a_module_is_named() {
    for (bytes, code) in [
        (b"".as_slice(), RefusalCode::NotWasm),
        (b"hello, world", RefusalCode::NotWasm),
        (b"\x7fELF\x02\x01\x01\x00", RefusalCode::NotWasm),
        (b"(module)", RefusalCode::NotWasm),
        (b"\0asm\x0d\x00\x01\x00", RefusalCode::Component),
        (b"\0asm\x02\x00\x00\x00", RefusalCode::NotWasm),
        (b"\0asm\x01\x00\x00\x00", RefusalCode::NoEntry),
        (b"\0asm\x01\x00\x00\x00\x01", RefusalCode::Invalid),
    ] {
        let refusal = admit(bytes, &Limits::default()).unwrap_err();
        assert_eq!(refusal.code, code, "{refusal}");
        assert!(refusal.text.ends_with(|last: char| last != '.'), "one sentence: {refusal}");
    }
}

#[test]
fn each_rule_has_its_refusal() {
    let wasi = "wasi_snapshot_preview1";
    for (wat, code) in [
        (r#"(module (func (export "run")))"#.to_owned(), RefusalCode::NoEntry),
        (r#"(module (func (export "_start") (param i32)))"#.to_owned(), RefusalCode::NoEntry),
        (r#"(module (memory (export "_start") 1))"#.to_owned(), RefusalCode::NoEntry),
        (format!("(module {START} (func $s) (start $s))"), RefusalCode::StartSection),
        (format!(r#"(module (import "env" "x" (func)) {START})"#), RefusalCode::UnknownImport),
        (
            format!(r#"(module (import "{wasi}" "memory" (memory 1)) {START})"#),
            RefusalCode::UnknownImport,
        ),
        (
            format!(r#"(module (import "{wasi}" "fd_fly" (func)) {START})"#),
            RefusalCode::UnknownImport,
        ),
        (
            format!(r#"(module (import "{wasi}" "proc_exit" (func)) {START})"#),
            RefusalCode::ImportType,
        ),
        (
            format!(r#"(module (import "{wasi}" "proc_exit" (func (param i32))) {START})"#),
            RefusalCode::NoMemory,
        ),
        (
            format!(
                r#"(module (import "{wasi}" "proc_exit" (func (param i32))) (memory 1) {START})"#
            ),
            RefusalCode::NoMemory,
        ),
        (
            format!(r#"(module {START} (global (export "weft:fuel") i32 (i32.const 0)))"#),
            RefusalCode::ReservedName,
        ),
        (format!("(module {START} (table 1000000 funcref))"), RefusalCode::TooLarge),
        (format!("(module {START} (memory 1) (memory 1))"), RefusalCode::Invalid),
        (format!("(module {START} (memory i64 1))"), RefusalCode::Invalid),
        (format!("(module {START} (memory 1 1 shared))"), RefusalCode::Invalid),
        (format!("(module {START} (func (result i32) i64.const 0))"), RefusalCode::Invalid),
        (format!("(module {START} (func (param v128)))"), RefusalCode::Invalid),
        (format!("(module {START} (func $f return_call $f))"), RefusalCode::Invalid),
        (format!("(module {START} (tag))"), RefusalCode::Invalid),
        (format!("(module {START} (table 1 externref))"), RefusalCode::Invalid),
        (
            format!(
                "(module {START} (table 1 funcref) (func (result i32) ref.null func i32.const 1 table.grow 0))"
            ),
            RefusalCode::Invalid,
        ),
        (format!("(module {START} (func (param {})))", "i32 ".repeat(129)), RefusalCode::TooLarge),
        (
            format!("(module {START} (func (local {})))", "i32 ".repeat(40_001)),
            RefusalCode::TooLarge,
        ),
        (
            format!("(module {START} (func {}{}))", "block ".repeat(3_000), "end ".repeat(3_000)),
            RefusalCode::TooLarge,
        ),
    ] {
        let refusal = refusal(&wat);
        assert_eq!(refusal.code, code, "{refusal}: {}", &wat[..wat.len().min(200)]);
    }
}

#[test]
fn a_refusal_for_size_names_the_limit_and_what_was_found() {
    let limits = Limits { module_bytes: 4, ..Limits::default() };
    let refusal = admit(b"\0asm\x01\x00\x00\x00", &limits).unwrap_err();
    assert_eq!((refusal.code, refusal.limit, refusal.found), (RefusalCode::TooLarge, 4, 8));
    assert_eq!(refusal.to_string(), "the module has 8 bytes, but 4 is the limit (at byte 0)");
}

/// A module that has two of everything that is counted, and a limit that it is one above.
struct Above {
    what: &'static str,
    limits: Limits,
    limit: u64,
    found: u64,
}

/// Twice as much as the limit of one.
fn above() -> Vec<Above> {
    let above = |what, change: fn(&mut Limits), limit, found| {
        let mut limits = Limits::default();
        change(&mut limits);
        Above { what, limits, limit, found }
    };
    vec![
        above("types", |limits| limits.types = 2, 2, 3),
        above("imports", |limits| limits.imports = 1, 1, 2),
        above("functions", |limits| limits.functions = 1, 1, 2),
        above("globals", |limits| limits.globals = 1, 1, 2),
        above("exports", |limits| limits.exports = 1, 1, 2),
        above("element segments", |limits| limits.segments = 1, 1, 2),
        above("table entries", |limits| limits.table_entries = 9, 9, 10),
        above("pages of memory at its start", |limits| limits.memory_min = Pages(1), 1, 2),
        above("parameters of one function", |limits| limits.params = 1, 1, 2),
        above("results of one function", |limits| limits.results = 1, 1, 2),
        above("locals in one function", |limits| limits.locals = 2, 2, 3),
        above("bytes in one function", |limits| limits.body_bytes = 20, 20, 22),
        above("nested blocks in one function", |limits| limits.nesting = 2, 2, 3),
        above("branches in one function", |limits| limits.branch_targets = 2, 2, 3),
    ]
}

#[test]
fn every_limit_refuses_with_what_was_found_and_where() {
    let wat = r#"(module
        (type (func (param i32 i32) (result i32 i32)))
        (import "wasi_snapshot_preview1" "fd_close" (func (param i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_sync" (func (param i32) (result i32)))
        (memory (export "memory") 2)
        (table 10 funcref) (elem (i32.const 0) func 2) (elem (i32.const 1) func 3)
        (global i32 (i32.const 0)) (global i32 (i32.const 0))
        (func (export "_start") (local i32 i64 i32)
            block br 0 block br_if 0 (i32.const 0) drop end br 0 end)
        (func (param i32 i32) (result i32 i32) i32.const 0 i32.const 0))"#;
    // The element section comes after the imports: 2 functions are imported, 2 are its own.
    let wat = wat.replace("br_if 0 (i32.const 0) drop", "i32.const 0 br_if 0");
    let bytes = wat::parse_str(&wat).unwrap();
    admit(&bytes, &Limits::default()).unwrap();
    for Above { what, limits, limit, found } in above() {
        let refusal = admit(&bytes, &limits).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::TooLarge, "{what}: {refusal}");
        assert_eq!((refusal.limit, refusal.found), (limit, found), "{what}: {refusal}");
        assert!((8..bytes.len() as u64).contains(&refusal.offset), "{what}: {refusal}");
        let said = format!(
            "the module has {found} {what}, but {limit} is the limit (at byte {})",
            refusal.offset
        );
        assert_eq!(refusal.text, said);
    }
    let data = r#"(module (memory 1) (func (export "_start")) (data "a") (data "b"))"#;
    let bytes = wat::parse_str(data).unwrap();
    let refusal = admit(&bytes, &Limits { segments: 1, ..Limits::default() }).unwrap_err();
    assert_eq!((refusal.limit, refusal.found), (1, 2), "{refusal}");
}

#[test]
fn a_function_too_large_for_cranelift_is_left_to_singlepass() {
    let wat =
        format!("(module {START} (func (param i32) {}))", "local.get 0 if else end ".repeat(2_001));
    let bytes = wat::parse_str(wat).unwrap();
    let admitted = admit(&bytes, &Limits::default()).unwrap();
    assert_eq!(admitted.facts().compiler, Compiler::Singlepass);
}

#[test]
fn slots_count_parameters_locals_and_operands() {
    let wat = format!(
        "(module {START} (func (param i32) (local i64 i64) i32.const 1 i32.const 2 i32.add drop))"
    );
    let bytes = wat::parse_str(wat).unwrap();
    let admitted = admit(&bytes, &Limits::default()).unwrap();
    let facts = admitted.functions()[1];
    assert_eq!((facts.locals, facts.slots, facts.calls), (2, 5, false));
}

/// The module of that text, with one of its bytes followed by another. Sections and bodies are one longer then.
fn encoded_in_the_words_of_a_feature_that_is_off(body: &[u8]) -> Vec<u8> {
    use wasm_encoder::{
        CodeSection, ExportKind, ExportSection, Function, FunctionSection, MemorySection,
        MemoryType, Module, TypeSection,
    };
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut exports = ExportSection::new();
    exports.export("_start", ExportKind::Func, 0);
    let mut function = Function::new([]);
    function.raw(body.iter().copied());
    let mut code = CodeSection::new();
    code.function(&function);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&memories).section(&exports).section(&code);
    module.finish()
}

#[test]
fn encodings_of_features_that_are_off_are_refused_where_they_mean_the_same() {
    let refused = |body: &[u8]| {
        let module = encoded_in_the_words_of_a_feature_that_is_off(body);
        admit(&module, &Limits::default()).unwrap_err().code
    };
    let plain = encoded_in_the_words_of_a_feature_that_is_off(&[0x3f, 0, 0x1a, 0x0b]);
    admit(&plain, &Limits::default()).unwrap();
    // `i32.load` that names memory 0; `memory.size` and `memory.grow` with an index of two bytes.
    assert_eq!(refused(&[0x41, 0, 0x28, 0x42, 0, 0, 0x1a, 0x0b]), RefusalCode::Invalid);
    assert_eq!(refused(&[0x3f, 0x80, 0, 0x1a, 0x0b]), RefusalCode::Invalid);
    assert_eq!(refused(&[0x41, 0, 0x40, 0x80, 0, 0x1a, 0x0b]), RefusalCode::Invalid);
}
