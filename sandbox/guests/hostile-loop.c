// Never ends: stopped by the fuel limit or by the time limit, whichever comes first.
int main(void) {
    for (volatile unsigned turn = 0;; turn++) {
    }
}
