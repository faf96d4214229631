// Writes without end: stopped by the output limit.
#include <stdio.h>
#include <string.h>

int main(void) {
    static char line[65536];
    memset(line, 'x', sizeof line);
    for (;;) fwrite(line, 1, sizeof line, stdout);
}
