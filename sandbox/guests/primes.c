// Prints how many primes there are up to N: `primes N`, or N on standard input, or 100000.
//
// A sieve in segments that fit a processor's cache, so that memory does not grow with N. N is at most 10^12.
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENT 262144u       // odd numbers in one segment
#define N_MAX 1000000000000ull

static uint64_t root_of(uint64_t n) {
    uint64_t root = 0;
    while ((root + 1) * (root + 1) <= n) root++;
    return root;
}

static bool parse(const char *text, uint64_t *n) {
    while (*text == ' ' || *text == '\t' || *text == '\n' || *text == '\r') text++;
    if (*text < '0' || *text > '9') return false;
    uint64_t value = 0;
    for (; *text >= '0' && *text <= '9'; text++) {
        value = value * 10 + (uint64_t)(*text - '0');
        if (value > N_MAX) return false;
    }
    while (*text == ' ' || *text == '\t' || *text == '\n' || *text == '\r') text++;
    *n = value;
    return *text == '\0';
}

// All odd primes up to `limit`, which is at most 10^6.
static uint32_t *small_primes(uint32_t limit, size_t *count) {
    uint8_t *composite = calloc((size_t)limit + 1, 1);
    uint32_t *primes = malloc(sizeof *primes * ((size_t)limit / 2 + 1));
    if (composite == NULL || primes == NULL) return NULL;
    *count = 0;
    for (uint32_t n = 3; n <= limit; n += 2) {
        if (composite[n]) continue;
        primes[(*count)++] = n;
        for (uint64_t multiple = (uint64_t)n * n; multiple <= limit; multiple += 2 * n) composite[multiple] = 1;
    }
    free(composite);
    return primes;
}

static uint64_t count_primes(uint64_t n) {
    if (n < 2) return 0;
    size_t primes_count = 0;
    uint32_t *primes = small_primes((uint32_t)root_of(n), &primes_count);
    uint8_t *composite = malloc(SEGMENT);
    if (primes == NULL || composite == NULL) {
        fputs("primes: out of memory\n", stderr);
        exit(1);
    }
    uint64_t count = 1; // two
    for (uint64_t low = 3; low <= n; low += 2ull * SEGMENT) {
        uint64_t high = low + 2ull * SEGMENT - 2; // the last odd number of the segment
        if (high > n) high = n;
        memset(composite, 0, SEGMENT);
        for (size_t i = 0; i < primes_count; i++) {
            uint64_t prime = primes[i];
            uint64_t multiple = prime * prime;
            if (multiple > high) break;
            if (multiple < low) {
                multiple = (low + prime - 1) / prime * prime;
                if (multiple % 2 == 0) multiple += prime;
            }
            for (uint64_t at = (multiple - low) / 2, end = (high - low) / 2; at <= end; at += prime) composite[at] = 1;
        }
        for (uint64_t at = 0, end = (high - low) / 2; at <= end; at++) count += !composite[at];
    }
    free(composite);
    free(primes);
    return count;
}

int main(int argc, char **argv) {
    uint64_t n = 100000;
    char line[64] = "";
    const char *text = argc > 1 ? argv[1] : fgets(line, sizeof line, stdin);
    if (text != NULL && text[strspn(text, " \t\r\n")] != '\0' && !parse(text, &n)) {
        fprintf(stderr, "primes: not a whole number between 0 and 10^12: %s\n", text);
        return 2;
    }
    printf("%" PRIu64 "\n", count_primes(n));
    return 0;
}
