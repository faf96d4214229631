// Kernels for measuring what determinism and metering cost: `kernels NAME ROUNDS` does the work that often and prints a
// checksum. Native compilers take it as well, so that all of them do the same.
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state = 88172645463325252u;

static uint32_t noise(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

// Integers and memory: primes below two million.
static uint64_t sieve(void) {
    enum { N = 2000000 };
    static uint8_t composite[N];
    memset(composite, 0, N);
    uint64_t count = 0;
    for (uint32_t i = 2; i < N; i++) {
        if (composite[i]) continue;
        count++;
        for (uint32_t j = i * 2; j < N; j += i) composite[j] = 1;
    }
    return count;
}

// Floats and memory: a product of matrices.
static uint64_t matmul(void) {
    enum { N = 200 };
    static double a[N][N], b[N][N], c[N][N];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            a[i][j] = i * 0.5 - j;
            b[i][j] = j * 0.25 + i;
        }
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            double sum = 0;
            for (int k = 0; k < N; k++) sum += a[i][k] * b[k][j];
            c[i][j] = sum;
        }
    double trace = 0;
    for (int i = 0; i < N; i++) trace += c[i][i];
    return (uint64_t)(int64_t)trace;
}

// Floats with square roots, results kept in memory at every step: planets.
struct body { double x, y, z, vx, vy, vz, mass; };

static uint64_t nbody(void) {
    struct body bodies[5];
    for (int i = 0; i < 5; i++) {
        double f = i + 1;
        bodies[i] = (struct body){f, f * 0.5, -f, 0.1 / f, 0.2 / f, 0.05 * f, 1.0 / f};
    }
    for (int step = 0; step < 60000; step++) {
        for (int i = 0; i < 5; i++)
            for (int j = i + 1; j < 5; j++) {
                struct body *p = &bodies[i], *q = &bodies[j];
                double dx = p->x - q->x, dy = p->y - q->y, dz = p->z - q->z;
                double square = dx * dx + dy * dy + dz * dz + 0.01;
                double force = 0.001 / (square * sqrt(square));
                p->vx -= dx * q->mass * force;
                p->vy -= dy * q->mass * force;
                p->vz -= dz * q->mass * force;
                q->vx += dx * p->mass * force;
                q->vy += dy * p->mass * force;
                q->vz += dz * p->mass * force;
            }
        for (int i = 0; i < 5; i++) {
            bodies[i].x += 0.001 * bodies[i].vx;
            bodies[i].y += 0.001 * bodies[i].vy;
            bodies[i].z += 0.001 * bodies[i].vz;
        }
    }
    return (uint64_t)(int64_t)(bodies[0].x * 1e9);
}

// Floats in registers: the Mandelbrot set.
static uint64_t mandelbrot(void) {
    uint64_t sum = 0;
    for (int y = 0; y < 160; y++)
        for (int x = 0; x < 200; x++) {
            double cx = x / 80.0 - 2.0, cy = y / 80.0 - 1.0, zx = 0, zy = 0;
            int n = 0;
            while (n < 300 && zx * zx + zy * zy < 4.0) {
                double t = zx * zx - zy * zy + cx;
                zy = 2 * zx * zy + cy;
                zx = t;
                n++;
            }
            sum += (uint64_t)n;
        }
    return sum;
}

// Calls and nothing else.
__attribute__((noinline)) static uint32_t fib(uint32_t n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

static uint64_t calls(void) { return fib(31); }

// Calls through a table: sorting with a comparison that is a function.
static int compare(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static uint64_t sort(void) {
    enum { N = 150000 };
    static uint32_t numbers[N];
    for (int i = 0; i < N; i++) numbers[i] = noise();
    qsort(numbers, N, sizeof *numbers, compare);
    return numbers[N / 2] ^ numbers[7];
}

// Hashing: SHA-256 (FIPS 180-4).
static uint32_t rotate(uint32_t x, int by) { return x >> by | x << (32 - by); }

static uint64_t sha256(void) {
    static uint32_t k[64];
    if (!k[0])
        for (int i = 0; i < 64; i++) k[i] = 0x428a2f98u * (uint32_t)(i + 1) ^ 0x71374491u;
    uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    for (uint32_t block = 0; block < 40000; block++) {
        uint32_t w[64], s[8];
        for (uint32_t i = 0; i < 16; i++) w[i] = block * 16 + i;
        for (int i = 16; i < 64; i++) {
            uint32_t a = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
            uint32_t b = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
            w[i] = w[i - 16] + a + w[i - 7] + b;
        }
        memcpy(s, h, sizeof s);
        for (int i = 0; i < 64; i++) {
            uint32_t e = rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25);
            uint32_t t1 = s[7] + e + ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
            uint32_t a = rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22);
            uint32_t t2 = a + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
            s[7] = s[6]; s[6] = s[5]; s[5] = s[4]; s[4] = s[3] + t1;
            s[3] = s[2]; s[2] = s[1]; s[1] = s[0]; s[0] = t1 + t2;
        }
        for (int i = 0; i < 8; i++) h[i] += s[i];
    }
    return h[0] ^ h[7];
}

// Hashing byte by byte through a table: CRC-32.
static uint64_t crc32(void) {
    static uint32_t table[256];
    static uint8_t data[1 << 20];
    if (!table[1]) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;
            for (int bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
            table[i] = c;
        }
        for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)noise();
    }
    uint32_t crc = ~0u;
    for (int round = 0; round < 8; round++)
        for (size_t i = 0; i < sizeof data; i++) crc = table[(crc ^ data[i]) & 0xff] ^ crc >> 8;
    return ~crc;
}

// Compression: matches through a hash table, as LZ4 does.
static uint64_t compress(void) {
    enum { N = 1 << 20 };
    static uint8_t in[N], out[N + N / 8];
    static int32_t heads[1 << 14];
    for (int i = 0; i < N; i++) in[i] = (uint8_t)(i > 64 && noise() % 8 ? in[i - 1 - noise() % 64] : 'a' + noise() % 16);
    memset(heads, 0xff, sizeof heads);
    size_t at = 0, written = 0;
    while (at + 8 < N) {
        uint32_t word;
        memcpy(&word, in + at, 4);
        uint32_t slot = word * 2654435761u >> 18;
        int32_t from = heads[slot];
        heads[slot] = (int32_t)at;
        size_t length = 0;
        if (from >= 0 && at - (size_t)from < 65536)
            while (at + length < N && in[(size_t)from + length] == in[at + length] && length < 255) length++;
        if (length >= 4) {
            out[written++] = 0xff;
            out[written++] = (uint8_t)length;
            out[written++] = (uint8_t)(at - (size_t)from);
            at += length;
        } else {
            out[written++] = in[at++];
        }
    }
    uint64_t sum = written;
    for (size_t i = 0; i < written; i += 97) sum = sum * 31 + out[i];
    return sum;
}

// Strings: formatting, splitting, searching, parsing.
static uint64_t strings(void) {
    static char text[400000];
    size_t length = 0;
    for (uint32_t i = 0; length + 64 < sizeof text; i++) {
        char word[32];
        int n = 0;
        uint32_t x = i * 2654435761u >> 12;
        do word[n++] = (char)('a' + x % 26); while (x /= 26);
        word[n++] = ' ';
        memcpy(text + length, word, (size_t)n);
        length += (size_t)n;
        n = 0;
        x = i;
        do word[n++] = (char)('0' + x % 10); while (x /= 10);
        word[n++] = ';';
        memcpy(text + length, word, (size_t)n);
        length += (size_t)n;
    }
    text[length] = 0;
    uint64_t sum = 0;
    for (char *part = text; *part;) {
        char *end = strchr(part, ';');
        if (!end) break;
        char *space = memchr(part, ' ', (size_t)(end - part));
        if (space) sum = sum * 31 + strtoul(space + 1, NULL, 10) + (uint64_t)(space - part);
        part = end + 1;
    }
    for (char *found = text; (found = strstr(found, "ab")); found++) sum++;
    return sum + strlen(text);
}

// An image: a blur and the edges of it.
static uint64_t image(void) {
    enum { W = 640, H = 480 };
    static uint8_t from[H][W], blurred[H][W], edges[H][W];
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) from[y][x] = (uint8_t)(x * y ^ x + y);
    for (int y = 1; y < H - 1; y++)
        for (int x = 1; x < W - 1; x++) {
            int sum = 0;
            for (int dy = -1; dy <= 1; dy++)
                for (int dx = -1; dx <= 1; dx++) sum += from[y + dy][x + dx];
            blurred[y][x] = (uint8_t)(sum / 9);
        }
    for (int y = 1; y < H - 1; y++)
        for (int x = 1; x < W - 1; x++) {
            int gx = blurred[y - 1][x + 1] + 2 * blurred[y][x + 1] + blurred[y + 1][x + 1] - blurred[y - 1][x - 1] - 2 * blurred[y][x - 1] - blurred[y + 1][x - 1];
            int gy = blurred[y + 1][x - 1] + 2 * blurred[y + 1][x] + blurred[y + 1][x + 1] - blurred[y - 1][x - 1] - 2 * blurred[y - 1][x] - blurred[y - 1][x + 1];
            int size = abs(gx) + abs(gy);
            edges[y][x] = (uint8_t)(size > 255 ? 255 : size);
        }
    uint64_t sum = 0;
    for (int y = 0; y < H; y += 7)
        for (int x = 0; x < W; x += 5) sum = sum * 31 + edges[y][x];
    return sum;
}

// Floats of 32 bits: a Fourier transform.
static uint64_t fourier(void) {
    enum { BITS = 13, N = 1 << BITS };
    static float re[N], im[N], cosine[N / 2], sine[N / 2];
    for (int i = 0; i < N; i++) {
        re[i] = (float)(i % 97) - 48.0f;
        im[i] = 0.0f;
    }
    if (cosine[0] == 0.0f)
        for (int i = 0; i < N / 2; i++) {
            cosine[i] = (float)cos(6.283185307179586 * i / N);
            sine[i] = (float)sin(6.283185307179586 * i / N);
        }
    for (int i = 1, j = 0; i < N; i++) {
        int bit = N >> 1;
        for (; j & bit; bit >>= 1) j ^= bit;
        j ^= bit;
        if (i < j) {
            float t = re[i];
            re[i] = re[j];
            re[j] = t;
        }
    }
    for (int length = 2; length <= N; length <<= 1)
        for (int i = 0; i < N; i += length)
            for (int k = 0; k < length / 2; k++) {
                float c = cosine[k * (N / length)], s = -sine[k * (N / length)];
                int a = i + k, b = a + length / 2;
                float x = re[b] * c - im[b] * s, y = re[b] * s + im[b] * c;
                re[b] = re[a] - x;
                im[b] = im[a] - y;
                re[a] += x;
                im[a] += y;
            }
    return (uint64_t)(int64_t)(re[1] * 1000.0f) ^ (uint64_t)(int64_t)(im[N / 3] * 1000.0f);
}

// Pointers: a hash table of chains.
struct node { uint32_t key, value, next; };

static uint64_t table(void) {
    enum { N = 100000, SLOTS = 1 << 15 };
    static struct node nodes[N + 1];
    static uint32_t heads[SLOTS];
    memset(heads, 0, sizeof heads);
    for (uint32_t i = 1; i <= N; i++) {
        uint32_t key = i * 2654435761u;
        uint32_t slot = key >> 17;
        nodes[i] = (struct node){key, i, heads[slot]};
        heads[slot] = i;
    }
    uint64_t sum = 0;
    for (uint32_t i = 1; i <= N * 3; i++) {
        uint32_t key = i * 2654435761u;
        for (uint32_t at = heads[key >> 17]; at; at = nodes[at].next)
            if (nodes[at].key == key) {
                sum += nodes[at].value;
                break;
            }
    }
    return sum;
}

// Branches through tables: an interpreter.
static uint64_t interpreter(void) {
    enum { PUSH, ADD, SUB, MUL, DUP, SWAP, LOAD, STORE, JUMP, UNLESS, HALT };
    static const uint8_t program[] = {
        PUSH, 1, STORE, 0, PUSH, 0, STORE, 1,
        LOAD, 0, LOAD, 1, ADD, DUP, MUL, LOAD, 1, SUB, STORE, 1,
        LOAD, 0, PUSH, 1, ADD, STORE, 0,
        LOAD, 2, PUSH, 1, SUB, DUP, STORE, 2, UNLESS, 39, JUMP, 8,
        LOAD, 1, HALT,
    };
    uint32_t stack[16], variables[4] = {0, 0, 400000, 0};
    int top = 0;
    for (size_t at = 0;;) {
        switch (program[at++]) {
        case PUSH: stack[top++] = program[at++]; break;
        case ADD: top--; stack[top - 1] += stack[top]; break;
        case SUB: top--; stack[top - 1] -= stack[top]; break;
        case MUL: top--; stack[top - 1] *= stack[top]; break;
        case DUP: stack[top] = stack[top - 1]; top++; break;
        case SWAP: { uint32_t t = stack[top - 1]; stack[top - 1] = stack[top - 2]; stack[top - 2] = t; break; }
        case LOAD: stack[top++] = variables[program[at++]]; break;
        case STORE: variables[program[at++]] = stack[--top]; break;
        case JUMP: at = program[at]; break;
        case UNLESS: if (!stack[--top]) at = program[at]; else at++; break;
        default: return stack[top - 1];
        }
    }
}

static const struct { const char *name; uint64_t (*run)(void); } kernels[] = {
    {"sieve", sieve}, {"matmul", matmul}, {"nbody", nbody}, {"mandelbrot", mandelbrot}, {"calls", calls},
    {"sort", sort}, {"sha256", sha256}, {"crc32", crc32}, {"compress", compress}, {"strings", strings},
    {"image", image}, {"fourier", fourier}, {"table", table}, {"interpreter", interpreter},
};

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    int rounds = argc > 2 ? atoi(argv[2]) : 1;
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
        if (!strcmp(kernels[i].name, argv[1])) {
            uint64_t sum = 0;
            for (int round = 0; round < rounds; round++) sum = sum * 1000003 + kernels[i].run();
            printf("%llu\n", (unsigned long long)sum);
            return 0;
        }
    return 2;
}
