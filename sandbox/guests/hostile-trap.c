// Does something that WebAssembly forbids.
int main(void) {
    __builtin_trap();
}
