//! Example programs that are built in. Their sources and the script that builds them are in `guests/`.

/// A program that is built in.
#[derive(Debug, Clone, Copy)]
pub struct Example {
    /// Its name, as in `weft run --example NAME`.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// The module.
    pub wasm: &'static [u8],
}

/// The programs that are of use, in the order in which they are shown.
pub const EXAMPLES: &[Example] = &[
    Example {
        name: "wordfreq",
        about: "counts the words of its standard input; with the argument `reduce` it adds up counts",
        wasm: include_bytes!("../guests/wasm/wordfreq.wasm"),
    },
    Example {
        name: "primes",
        about: "counts the primes up to N, given as argument or on standard input",
        wasm: include_bytes!("../guests/wasm/primes.wasm"),
    },
    Example {
        name: "mandelbrot",
        about: "draws the Mandelbrot set into /out/mandelbrot.png; arguments: width and height",
        wasm: include_bytes!("../guests/wasm/mandelbrot.wasm"),
    },
];

/// Programs that misbehave, for tests: each must be stopped at its limit.
pub const HOSTILE: &[Example] = &[
    Example {
        name: "hostile-loop",
        about: "never ends",
        wasm: include_bytes!("../guests/wasm/hostile-loop.wasm"),
    },
    Example {
        name: "hostile-memory",
        about: "takes all memory that it gets and ends with code 3",
        wasm: include_bytes!("../guests/wasm/hostile-memory.wasm"),
    },
    Example {
        name: "hostile-output",
        about: "writes without end",
        wasm: include_bytes!("../guests/wasm/hostile-output.wasm"),
    },
    Example {
        name: "hostile-trap",
        about: "does what WebAssembly forbids",
        wasm: include_bytes!("../guests/wasm/hostile-trap.wasm"),
    },
];

/// The module of that name, hostile ones included.
#[must_use]
pub fn example(name: &str) -> Option<&'static [u8]> {
    EXAMPLES.iter().chain(HOSTILE).find(|example| example.name == name).map(|example| example.wasm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_is_found_by_its_name() {
        assert!(example("wordfreq").is_some_and(|wasm| wasm.starts_with(b"\0asm")));
        assert!(example("hostile-trap").is_some());
        assert!(example("no-such-example").is_none());
    }
}
