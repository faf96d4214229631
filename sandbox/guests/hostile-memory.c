// Asks for memory until it is refused, writes to all of it, and does not give up.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *volatile kept;

int main(void) {
    size_t total = 0;
    for (;;) {
        size_t size = (size_t)1 << 20;
        char *block = malloc(size);
        if (block == NULL) {
            printf("refused after %zu MiB\n", total >> 20);
            return 3;
        }
        memset(block, 0x5a, size);
        kept = block; // seen by nobody, but the compiler cannot know
        total += size;
    }
}
